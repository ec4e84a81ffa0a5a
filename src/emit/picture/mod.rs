//! Draws pictures in Graphviz DOT and Mermaid format.

pub mod dot;
pub mod mermaid;
