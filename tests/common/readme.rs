//! Finds the commands in README.md, docs/recipes.md and docs/ci.md, so that tests can run them.

pub const README: &str = include_str!("../../README.md");

const RECIPES: &str = include_str!("../../docs/recipes.md");

const CI: &str = include_str!("../../docs/ci.md");

/// Returns the contents of all code blocks in these pages that begin with the line `fence`.
pub fn blocks(fence: &str) -> Vec<&'static str> {
    [README, RECIPES, CI].into_iter().flat_map(|page| blocks_of(page, fence)).collect()
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
