//! Every English phrase once: what namespaces, processes and findings are called in
//! output for people.

pub mod line;
pub mod namespace;
pub mod phrase;
pub mod sanitize;
pub mod subject;
