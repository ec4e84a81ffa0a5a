//! Finds the commands in README.md and docs/recipes.md, so that tests can run them.

pub const README: &str = include_str!("../../README.md");

const RECIPES: &str = include_str!("../../docs/recipes.md");

/// Returns the content of each code block in these two pages whose opening line is `fence`.
pub fn blocks(fence: &str) -> Vec<&'static str> {
    [README, RECIPES].into_iter().flat_map(|page| blocks_of(page, fence)).collect()
}

fn blocks_of(page: &'static str, fence: &str) -> Vec<&'static str> {
    let mut blocks = Vec::new();
    let mut rest = page;
    while let Some((_, after)) = rest.split_once(&format!("\n{fence}\n")) {
        let (block, after) = after.split_once("\n```").expect("a fence ends");
        blocks.push(block);
        rest = after;
    }
    blocks
}
