//! Pictures in the formats Graphviz DOT and Mermaid.

pub mod dot;
pub mod mermaid;
