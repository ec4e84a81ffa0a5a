//! Checks rules for the source code in `src/`: imports between modules, the length of files and
//! functions, the names of types, and the first words of comments.
//!
//! The checks read the source line by line, and rely on the layout of rustfmt: an item ends at the
//! first closing brace that has the same indentation as the item.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Maximum number of lines in a file, without its tests.
const FILE_LINES: usize = 500;

/// Maximum number of lines in a function, from its signature to its closing brace.
const FUNCTION_LINES: usize = 60;

/// Files that may contain unsafe code.
const UNSAFE: [&str; 4] =
    ["collect/bpf/loader/syscall.rs", "collect/kernel/nsfs.rs", "run/raw_signals.rs", "startup.rs"];

/// Type names that are too general to be used twice.
const GENERAL_NAMES: [&str; 6] = ["Finding", "Head", "Kind", "Listing", "Row", "Tree"];

/// Comments must not begin with these words, which introduce a clause instead of a sentence.
const STIFF_OPENINGS: [&str; 10] =
    ["As", "Of", "So many", "That which", "What", "Where", "Whether", "Who", "Whose", "Those"];

/// A source file below `src/`.
struct Source {
    /// Path relative to `src/`.
    file: String,
    /// The lines outside of tests, each with its line number. Comments are omitted.
    code: Vec<(usize, String)>,
    /// Number of lines before the tests at the end of the file, including comments.
    production_lines: usize,
}

impl Source {
    fn new(file: String, text: &str) -> Self {
        let lines: Vec<&str> = text.lines().collect();
        let mut code = Vec::new();
        let mut production_lines = lines.len();
        let mut index = 0;
        while index < lines.len() {
            let line = lines[index];
            if line.trim_start().starts_with("#[cfg(test)]") {
                let end = item_end(&lines, index + 1);
                if end + 1 == lines.len() {
                    production_lines = index;
                }
                index = end + 1;
                continue;
            }
            let line = line.split("// ").next().unwrap_or_default();
            if !line.trim_start().starts_with("//") {
                code.push((index + 1, line.to_owned()));
            }
            index += 1;
        }
        Self { file, code, production_lines }
    }

    /// Returns the module path of this file: `collect/proc/mod.rs` is `collect::proc`.
    fn module(&self) -> Vec<String> {
        let path = self.file.trim_end_matches(".rs");
        let path = path.strip_suffix("/mod").unwrap_or(path);
        if path == "lib" { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
    }

    /// Converts a path that begins with `crate`, `self` or `super` to a path relative to the crate
    /// root. Returns `None` for other paths.
    fn absolute(&self, path: &[String]) -> Option<Vec<String>> {
        let mut module = match path[0].as_str() {
            "crate" => Vec::new(),
            "self" | "super" => self.module(),
            _ => return None,
        };
        for name in path {
            match name.as_str() {
                "crate" | "self" => {}
                "super" => drop(module.pop()),
                name => module.push(name.to_owned()),
            }
        }
        Some(module)
    }

    /// Returns the code as one string, since a statement can have several lines.
    fn joined(&self) -> String {
        self.code.iter().map(|(_, line)| line.as_str()).collect::<Vec<_>>().join("\n")
    }
}

/// Returns the index of the last line of an item. The first attribute of the item is at line
/// `start`.
fn item_end(lines: &[&str], start: usize) -> usize {
    let indentation = indentation(lines[start]);
    let mut index = start;
    while lines[index].trim_start().starts_with("#[") {
        index += 1;
    }
    if lines[index].ends_with([';', ',', '}']) {
        return index;
    }
    let closes = |line: &str| {
        let rest = &line[indentation.min(line.len())..];
        line.starts_with(&" ".repeat(indentation))
            && rest.starts_with(['}', ')', ']'])
            && rest.ends_with(['}', ';'])
    };
    (index + 1..lines.len()).find(|&end| closes(lines[end])).expect("an item ends")
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Reads all Rust files below `src/` except tests.
fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    walk("", &mut |file, text| {
        let is_test = file.split('/').any(|part| ["tests", "tests.rs", "testing"].contains(&part));
        if is_rust(&file) && !is_test {
            sources.push(Source::new(file, &text));
        }
    });
    assert!(sources.len() > 100, "src/ was not found");
    sources
}

fn is_rust(file: &str) -> bool {
    Path::new(file).extension().is_some_and(|it| it == "rs")
}

/// Calls `found` for each file below `src/`, with the path and the text of the file.
fn walk(dir: &str, found: &mut impl FnMut(String, String)) {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut entries: Vec<_> =
        fs::read_dir(top.join(dir)).expect("is a directory").map(Result::unwrap).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().into_string().expect("is text");
        let path = if dir.is_empty() { name } else { format!("{dir}/{name}") };
        if entry.file_type().unwrap().is_dir() {
            walk(&path, found);
        } else if let Ok(text) = fs::read_to_string(entry.path()) {
            found(path, text);
        }
    }
}

/// Panics with the list of violations, unless the list is empty.
fn assert_none(rule: &str, violations: &[String]) {
    assert!(violations.is_empty(), "{rule}:\n  {}", violations.join("\n  "));
}

/// All paths in a source file, such as `["crate", "model", "Pid"]`.
struct Paths {
    /// Paths in `use` declarations, with braces expanded, each with the name that it imports.
    imports: Vec<(String, Vec<String>)>,
    /// Paths in code other than `use` declarations.
    others: Vec<Vec<String>>,
}

fn paths(code: &str) -> Paths {
    let mut imports = Vec::new();
    let mut rest = String::new();
    let mut declaration: Option<String> = None;
    for line in code.lines() {
        let trimmed = line.trim();
        let after_visibility = match trimmed.strip_prefix("pub") {
            Some(after) if after.starts_with('(') => after.split_once(") ").map_or("", |it| it.1),
            Some(after) => after.trim_start(),
            None => trimmed,
        };
        if let Some(declaration) = &mut declaration {
            declaration.push_str(trimmed);
        } else if let Some(tree) = after_visibility.strip_prefix("use ") {
            declaration = Some(tree.to_owned());
        } else {
            rest.push_str(line);
            rest.push('\n');
        }
        if declaration.as_ref().is_some_and(|it| it.ends_with(';')) {
            let tree = declaration.take().unwrap_or_default();
            expand(&[], tree.trim_end_matches(';'), &mut imports);
        }
    }
    Paths { imports, others: path_expressions(&rest) }
}

/// Expands the tree of a `use` declaration: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expand(prefix: &[String], tree: &str, imports: &mut Vec<(String, Vec<String>)>) {
    let tree = tree.trim();
    let mut path = prefix.to_vec();
    if let Some((head, group)) = tree.split_once('{') {
        path.extend(head.split("::").map(|it| it.trim().to_owned()).filter(|it| !it.is_empty()));
        let group = group.strip_suffix('}').unwrap_or(group);
        let mut depth = 0;
        for part in group.split(|character| {
            depth += i32::from(character == '{') - i32::from(character == '}');
            character == ',' && depth == 0
        }) {
            if !part.trim().is_empty() {
                expand(&path, part, imports);
            }
        }
        return;
    }
    let (tree, alias) = match tree.split_once(" as ") {
        Some((tree, alias)) => (tree, Some(alias.trim().to_owned())),
        None => (tree, None),
    };
    path.extend(tree.split("::").map(|it| it.trim().to_owned()));
    if path.len() > 1 && path.last().is_some_and(|it| it == "self") {
        path.pop();
    }
    let name = alias.unwrap_or_else(|| path[path.len() - 1].clone());
    imports.push((name, path));
}

/// Finds all paths such as `a::b` in code without `use` declarations.
fn path_expressions(code: &str) -> Vec<Vec<String>> {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    let mut paths = Vec::new();
    // Ignore the path in `pub(in path)`, which does not use anything from that module. The inserted
    // colon makes the path invalid, so the loop below skips it.
    let code = code.replace("pub(in ", "pub(in:");
    for word in code.split(|character| !is_part(character) && character != ':') {
        let path: Vec<String> = word.split("::").map(str::to_owned).collect();
        if path.len() > 1 && path.iter().all(|it| !it.is_empty() && it.chars().all(is_part)) {
            paths.push(path);
        }
    }
    paths
}

/// All modules of the crate, with the paths in each, to find the file that a path refers to.
struct Crate {
    sources: Vec<Source>,
    paths: Vec<Paths>,
    /// Maps the path of each module to an index into `sources`.
    modules: BTreeMap<Vec<String>, usize>,
}

impl Crate {
    fn read() -> Self {
        let sources: Vec<_> = sources()
            .into_iter()
            .filter(|it| !["main.rs", "startup.rs"].contains(&&*it.file))
            .collect();
        let paths = sources.iter().map(|source| paths(&source.joined())).collect();
        let modules =
            sources.iter().enumerate().map(|(index, source)| (source.module(), index)).collect();
        Self { sources, paths, modules }
    }

    /// Finds the source that defines the item at `path`, a path in the source `from`. Follows at
    /// most `depth` re-exports. Returns `None` for local names and for items of other crates.
    fn resolve(&self, from: usize, path: &[String], depth: usize) -> Option<usize> {
        let source = &self.sources[from];
        let path = source.absolute(path).or_else(|| {
            // The path of a submodule may omit `self`.
            let mut child = source.module();
            child.push(path[0].clone());
            self.modules.contains_key(&child).then(|| [&child[..], &path[1..]].concat())
        })?;
        let is_module = |length: &usize| self.modules.contains_key(&path[..*length]);
        let length = (0..=path.len()).rev().find(is_module)?;
        let module = self.modules[&path[..length]];
        let item = path.get(length).and_then(|item| self.reexported(module, item, depth));
        Some(item.unwrap_or(module))
    }

    /// Finds the source that defines `name`, which `module` re-exports by `pub use`.
    fn reexported(&self, module: usize, name: &str, depth: usize) -> Option<usize> {
        let imports = &self.paths[module].imports;
        let (_, path) = imports.iter().find(|(imported, _)| imported == name)?;
        if depth == 0 { None } else { self.resolve(module, path, depth - 1) }
    }

    /// Returns, for each source, the sources that it depends on.
    fn dependencies(&self) -> Vec<BTreeSet<usize>> {
        let mut dependencies = vec![BTreeSet::new(); self.sources.len()];
        for (index, paths) in self.paths.iter().enumerate() {
            let all = paths.imports.iter().map(|(_, path)| path).chain(&paths.others);
            dependencies[index].extend(all.filter_map(|path| self.resolve(index, path, 8)));
            // If an inherent `impl` in another file adds methods to a type, the file of the type
            // depends on that file.
            for name in inherent_impls(&self.sources[index]) {
                let imported = paths.imports.iter().find(|(imported, _)| *imported == name);
                let path = imported.map_or_else(|| vec![name.clone()], |(_, path)| path.clone());
                if let Some(definition) = self.resolve(index, &path, 8) {
                    dependencies[definition].insert(index);
                }
            }
        }
        for (index, dependencies) in dependencies.iter_mut().enumerate() {
            dependencies.remove(&index);
        }
        dependencies
    }
}

/// Returns the names of all types for which a source has an inherent `impl`.
fn inherent_impls(source: &Source) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (_, line) in &source.code {
        let Some(rest) = line.strip_prefix("impl") else { continue };
        if line.contains(" for ") {
            continue;
        }
        let mut depth = 0;
        let generics = rest.find(|it| {
            depth += i32::from(it == '<') - i32::from(it == '>');
            depth == 0
        });
        let rest = rest[generics.unwrap_or(0)..].trim_start_matches(['>', ' ']);
        let end = rest.find(|it: char| !it.is_alphanumeric() && it != '_').unwrap_or(rest.len());
        names.insert(rest[..end].to_owned());
    }
    names
}

/// Returns all dependency cycles as lists of source indices.
fn cycles(dependencies: &[BTreeSet<usize>]) -> Vec<Vec<usize>> {
    let reachable: Vec<BTreeSet<usize>> = (0..dependencies.len())
        .map(|start| {
            let mut seen = BTreeSet::new();
            let mut pending: Vec<usize> = dependencies[start].iter().copied().collect();
            while let Some(next) = pending.pop() {
                if seen.insert(next) {
                    pending.extend(&dependencies[next]);
                }
            }
            seen
        })
        .collect();
    let mut cycles = BTreeSet::new();
    for start in 0..dependencies.len() {
        if reachable[start].contains(&start) {
            let mutual = |&other: &usize| reachable[other].contains(&start);
            cycles.insert(reachable[start].iter().copied().filter(mutual).collect::<Vec<_>>());
        }
    }
    cycles.into_iter().collect()
}

#[test]
fn modules_have_no_import_cycle() {
    let krate = Crate::read();
    let dependencies = krate.dependencies();
    let file = |index: &usize| krate.sources[*index].file.as_str();
    let violations: Vec<String> = cycles(&dependencies)
        .iter()
        .map(|cycle| {
            let members: BTreeSet<usize> = cycle.iter().copied().collect();
            let edges = cycle.iter().map(|from| {
                let to: Vec<&str> = dependencies[*from].intersection(&members).map(file).collect();
                format!("{} uses {}", file(from), to.join(", "))
            });
            edges.collect::<Vec<_>>().join("\n    ")
        })
        .collect();
    assert_none("import cycles", &violations);
}

/// Returns the imports in module `importer` that lead neither to `importer` itself nor to a module
/// in `allowed`.
fn imports_beyond(importer: &str, allowed: &[&str]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources() {
        let module = source.module();
        if module.first().is_none_or(|first| first != importer) {
            continue;
        }
        let paths = paths(&source.joined());
        let named = paths.imports.into_iter().map(|(_, path)| path);
        for path in named.chain(paths.others).filter_map(|path| source.absolute(&path)) {
            if path[0] != importer && !allowed.contains(&&*path[0]) {
                violations.push(format!("{} imports {}", source.file, path.join("::")));
            }
        }
    }
    violations
}

#[test]
fn model_imports_no_other_module() {
    assert_none("imports of model", &imports_beyond("model", &[]));
}

#[test]
fn collect_imports_only_model() {
    assert_none("imports of collect", &imports_beyond("collect", &["model"]));
}

#[test]
fn files_are_short() {
    let violations: Vec<String> = sources()
        .iter()
        .filter(|source| source.production_lines > FILE_LINES)
        .map(|source| format!("{}: {} lines", source.file, source.production_lines))
        .collect();
    assert_none(&format!("files over {FILE_LINES} lines without their tests"), &violations);
}

/// Returns the name of the function whose signature begins on this line, if any.
fn function_name(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    if let Some(after) = rest.strip_prefix("pub(") {
        rest = after.split_once(") ")?.1;
    }
    for word in ["pub ", "const ", "unsafe ", "extern \"C\" "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    let name = rest.strip_prefix("fn ")?;
    name.split(['(', '<']).next()
}

#[test]
fn functions_are_short() {
    let mut violations = Vec::new();
    for source in sources() {
        for (start, (number, line)) in source.code.iter().enumerate() {
            let Some(name) = function_name(line) else { continue };
            if line.ends_with([';', '}']) {
                continue;
            }
            let margin = " ".repeat(indentation(line));
            let ends = |line: &str| {
                line.strip_prefix(&margin).is_some_and(|rest| {
                    rest == "}" || (rest.starts_with(')') && rest.ends_with(';'))
                })
            };
            let end = source.code[start..].iter().find(|(_, line)| ends(line));
            let (end, _) = end.expect("a function ends");
            let length = end - number + 1;
            if length > FUNCTION_LINES {
                violations.push(format!("{}:{number}: {name}: {length} lines", source.file));
            }
        }
    }
    assert_none(&format!("functions over {FUNCTION_LINES} lines"), &violations);
}

#[test]
fn unsafe_code_is_in_four_files() {
    let mut violations = Vec::new();
    for source in sources() {
        let is_unsafe = |line: &str| {
            let words = line.split(|it: char| !it.is_alphanumeric() && it != '_');
            words.into_iter().any(|word| word == "unsafe")
        };
        for (number, line) in &source.code {
            let is_attribute = line.trim_start().starts_with("#[unsafe(");
            let allowed =
                UNSAFE.contains(&&*source.file) && (source.file != "startup.rs" || is_attribute);
            if is_unsafe(line) && !allowed {
                violations.push(format!("{}:{number}: {}", source.file, line.trim()));
            }
        }
    }
    assert_none("unsafe code", &violations);
}

#[test]
fn no_two_types_share_a_general_name() {
    let mut places: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for source in sources() {
        for (number, line) in &source.code {
            let words: Vec<&str> = line
                .split(|it: char| !it.is_alphanumeric() && it != '_')
                .filter(|word| !word.is_empty())
                .collect();
            let keyword = |word: &&str| ["struct", "enum", "trait", "type", "union"].contains(word);
            let Some(index) = words.iter().position(keyword) else { continue };
            // Skip associated types, which are always named together with their trait.
            if words[index] == "type" && line.starts_with(' ') {
                continue;
            }
            let named =
                words.get(index + 1).and_then(|it| GENERAL_NAMES.iter().find(|name| *name == it));
            if let Some(name) = named {
                places.entry(name).or_default().push(format!("{}:{number}", source.file));
            }
        }
    }
    let violations: Vec<String> = places
        .iter()
        .filter(|(_, places)| places.len() > 1)
        .map(|(name, places)| format!("{name}: {}", places.join(", ")))
        .collect();
    assert_none("types with the same general name", &violations);
}

#[test]
fn comments_begin_with_a_subject() {
    let mut violations = Vec::new();
    walk("", &mut |file, text| {
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_start();
            let marks = ["///", "//!", "//", "/*", "*"];
            let Some(comment) = marks.iter().find_map(|mark| line.strip_prefix(mark)) else {
                continue;
            };
            let begins = |opening: &&&str| {
                let rest = comment.trim_start().strip_prefix(**opening);
                rest.is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
            };
            if STIFF_OPENINGS.iter().any(|opening| begins(&opening)) {
                violations.push(format!("{file}:{}: {line}", index + 1));
            }
        }
    });
    assert_none("comments that begin with a clause", &violations);
}
