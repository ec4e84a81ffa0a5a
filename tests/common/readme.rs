//! Extracts code blocks from the README.

pub const README: &str = include_str!("../../README.md");

/// Contents of the README's fenced blocks that begin with this line.
pub fn blocks(fence: &str) -> Vec<&'static str> {
    let mut blocks = Vec::new();
    let mut rest = README;
    while let Some((_, after)) = rest.split_once(&format!("\n{fence}\n")) {
        let (block, after) = after.split_once("\n```").expect("a fence ends");
        blocks.push(block);
        rest = after;
    }
    blocks
}
