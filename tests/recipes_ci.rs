//! Runs the CI recipes of the README unchanged, with a job that leaves processes behind. Tests
//! that each recipe fails and names all these processes.

mod common;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use common::Need::*;
use common::*;
use rustix::process::Signal;
use serde_json::Value;

/// The working directory of a CI job, in which `make test` runs [`JOB`].
struct Workspace(tempfile::TempDir);

impl Workspace {
    fn new() -> Self {
        let this = Self(tempfile::tempdir().unwrap());
        this.program("make", &format!("#!/bin/bash\n{JOB}"));
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Writes an executable script to a directory that comes first in PATH.
    fn program(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path("bin")).unwrap();
        fs::write(self.path("bin").join(name), text).unwrap();
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.path("bin").join(name), executable).unwrap();
    }

    /// Runs a script with bash, as a CI runner does. Returns the exit status and the output. The
    /// output goes to a file, since the leftover processes would keep a pipe open.
    fn run(&self, options: &[&str], script: &str) -> (Option<i32>, String) {
        self.run_with(options, script, &[])
    }

    /// Like [`run`](Self::run), with additional environment variables.
    fn run_with(
        &self,
        options: &[&str],
        script: &str,
        variables: &[(String, String)],
    ) -> (Option<i32>, String) {
        fs::write(self.path("script"), script).unwrap();
        let log = File::create(self.path("log")).unwrap();
        let bin = self.path("bin");
        let pidns = std::path::Path::new(PIDNS).parent().unwrap();
        let path =
            format!("{}:{}:{}", bin.display(), pidns.display(), std::env::var("PATH").unwrap());
        let status = Command::new("bash")
            .args(options)
            .arg(self.path("script"))
            .current_dir(self.0.path())
            .envs([("PATH", path.as_str()), ("LC_ALL", "C.UTF-8")])
            .env("GITHUB_STEP_SUMMARY", self.path("summary"))
            .env("GITHUB_OUTPUT", self.path("output"))
            .env("RUNNER_TEMP", self.0.path())
            .envs(variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .status()
            .unwrap();
        (status.code(), self.read("log"))
    }
}

/// Parses the PIDs of the leftover processes in the output of the job.
fn left(log: &str) -> Left {
    let pairs = log.lines().filter_map(|line| line.split_once(' '));
    Left::of(&pairs.filter_map(|(name, pid)| Some((name.to_owned(), pid.parse().ok()?))).collect())
}

/// Asserts that a string contains the PID of each leftover process, and the path of the leftover
/// namespace.
#[track_caller]
fn assert_names_all(text: &str, left: &Left, workspace: &Workspace) {
    let words: Vec<_> = text.split(|c: char| !c.is_ascii_digit()).collect();
    for pid in left.all() {
        assert!(words.contains(&pid.to_string().as_str()), "{pid} in {text}");
    }
    // In Markdown, pidns writes `_` as a character reference.
    let text = text.replace("&#95;", "_");
    assert!(text.contains(&workspace.path("test").display().to_string()), "{text}");
}

/// Parses the YAML recipe that begins with this fence. There must be exactly one.
fn yaml(fence: &str) -> Value {
    let recipes = blocks(fence);
    assert_eq!(recipes.len(), 1);
    serde_json::from_str(&pipe(Command::new("yq").arg("."), recipes[0].as_bytes())).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[test]
fn shell_recipes_fail_and_name_every_leftover() {
    needs!(NamespaceOfItsOwn, Program("jq"));
    let recipes = blocks("```sh ci");
    for verb in ["run", "check", "diff"] {
        assert!(recipes.iter().any(|recipe| recipe.contains(&format!("pidns {verb} "))), "{verb}");
    }
    for recipe in recipes {
        let workspace = Workspace::new();
        let (status, log) = workspace.run(&[], recipe);
        let expected = if recipe.contains("pidns run ") { 123 } else { 1 };
        assert_eq!(status, Some(expected), "{recipe}\n{log}");
        // The output of pidns follows the output of the job.
        let (_, said) = log.split_once("stopped ").unwrap();
        assert_names_all(said, &left(&log), &workspace);
        // The shell and the other programs of the pipeline are not leftovers of the job.
        let leftovers = said.matches("leftover-process").count();
        assert!(!recipe.contains("pidns check") || leftovers == 3, "{said}");
    }
}

#[test]
fn the_github_recipe_annotates_and_summarizes_every_leftover() {
    needs!(NamespaceOfItsOwn, Program("yq"));
    let workspace = Workspace::new();
    let workflow = yaml("```yaml github");
    let (mut failed, mut log) = (Vec::new(), String::new());
    for step in workflow["jobs"]["test"]["steps"].as_array().unwrap() {
        let runs = match text(&step["if"]) {
            "" => failed.is_empty(),
            "always()" => true,
            "failure()" => !failed.is_empty(),
            other => panic!("{other}"),
        };
        if runs {
            // If a step has no `shell:`, GitHub runs its script with `bash -e`.
            let (status, said) = workspace.run(&["-e"], text(&step["run"]));
            failed.extend((status != Some(0)).then(|| (text(&step["run"]).to_owned(), status)));
            log.push_str(&said);
        }
    }
    assert_eq!(failed.len(), 2, "{failed:?}\n{log}");
    assert!(failed.iter().all(|(step, status)| step.contains("check") && *status == Some(1)));
    let left = left(&log);
    let annotations: Vec<_> = log.lines().filter(|line| line.starts_with("::")).collect();
    assert_names_all(&annotations.join("\n"), &left, &workspace);
    let count = |command| annotations.iter().filter(|it| it.starts_with(command)).count();
    // The errors are about the daemon, the zombie's parent, the stopped process, and the namespace
    // (twice). The shell of each step is new, but not a leftover.
    assert_eq!((count("::error "), count("::warning ")), (5, 1), "{annotations:#?}");
    assert_names_all(&workspace.read("summary"), &left, &workspace);
}

fn action() -> Value {
    let yaml = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/action.yml")).unwrap();
    serde_json::from_str(&pipe(Command::new("yq").arg("."), &yaml)).unwrap()
}

/// Runs the steps of `action.yml` as GitHub does: replaces the expressions, and executes the scripts
/// with the given inputs. Returns the exit status of the first step, and the output of all steps.
fn run_action(workspace: &Workspace, inputs: &[(&str, &str)]) -> (Option<i32>, String) {
    let action = action();
    for (name, _) in inputs {
        assert!(action["inputs"][*name].is_object(), "{name}");
    }
    let value = |expression: &str| -> String {
        if let Some(name) = expression.strip_prefix("inputs.") {
            let given = inputs.iter().find(|(input, _)| *input == name);
            return given.map_or(text(&action["inputs"][name]["default"]), |it| it.1).to_owned();
        }
        let name = expression.strip_prefix("steps.run.outputs.").expect(expression);
        let output = workspace.read("output");
        let mut lines = output.lines().filter_map(|line| line.split_once('='));
        lines.find(|(output, _)| *output == name).unwrap().1.to_owned()
    };
    let evaluate = |text: &str| {
        let expression = text.strip_prefix("${{ ").and_then(|text| text.strip_suffix(" }}"));
        expression.map_or(text.to_owned(), value)
    };
    let (mut first, mut log) = (None, String::new());
    for step in action["runs"]["steps"].as_array().unwrap() {
        let (script, shell) = (text(&step["run"]), text(&step["shell"]));
        assert!(shell == "bash" && !script.contains("${{"), "{script}");
        let runs = match text(&step["if"]) {
            "" => true,
            "always() && inputs.summary == 'true'" => value("inputs.summary") == "true",
            other => panic!("{other}"),
        };
        if runs {
            let variables = step["env"].as_object().unwrap().iter();
            let variables: Vec<_> =
                variables.map(|(name, value)| (name.clone(), evaluate(text(value)))).collect();
            let options = ["--noprofile", "--norc", "-eo", "pipefail"];
            let (status, said) = workspace.run_with(&options, script, &variables);
            first = first.or(status);
            log.push_str(&said);
        }
    }
    assert_eq!(action["outputs"]["report"]["value"], "${{ steps.run.outputs.report }}");
    (first, log)
}

#[test]
fn the_action_annotates_and_summarizes_every_leftover() {
    needs!(NamespaceOfItsOwn, Program("yq"));
    let workspace = Workspace::new();
    let (status, log) = run_action(&workspace, &[("run", "make test"), ("grace", "0.1")]);
    assert_eq!(status, Some(123), "{log}");
    let left = left(&log);
    let annotations: Vec<_> = log.lines().filter(|line| line.starts_with("::")).collect();
    assert_names_all(&annotations.join("\n"), &left, &workspace);
    let output = workspace.read("output");
    let report = output.lines().find_map(|line| line.strip_prefix("report=")).unwrap();
    let report: Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    assert_eq!(report["status"], 0, "{report}");
    assert_names_all(&workspace.read("summary"), &left, &workspace);
    assert!(fs::metadata(workspace.path("summary")).unwrap().len() < 1 << 20);

    let workspace = Workspace::new();
    let inputs = [("run", "make test"), ("kill", "true"), ("deny", ""), ("summary", "false")];
    let (status, log) = run_action(&workspace, &inputs);
    assert_eq!(status, Some(0), "{log}");
    assert!(log.contains("pidns: killed 3 processes"), "{log}");
    assert_eq!(workspace.read("summary"), "");
}

#[test]
fn the_page_documents_every_input_of_the_action() {
    needs!(Program("yq"));
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/ci.md")).unwrap();
    let action = action();
    for (name, input) in action["inputs"].as_object().unwrap() {
        let default = match (text(&input["default"]), &input["required"]) {
            (_, Value::Bool(true)) => "required".to_owned(),
            ("", _) => "none".to_owned(),
            (default, _) => format!("`{default}`"),
        };
        assert!(page.contains(&format!("\n| `{name}` | {default} | ")), "{name}: {default}");
    }
    let steps = &yaml("```yaml action")["jobs"]["test"]["steps"];
    for name in steps[0]["with"].as_object().unwrap().keys() {
        assert!(action["inputs"][name].is_object(), "{name}");
    }
}

#[test]
fn the_action_does_not_execute_its_inputs() {
    needs!(NamespaceOfItsOwn, Program("yq"));
    let workspace = Workspace::new();
    let hostile = "it's \"$(touch injected)\" `touch injected`; touch injected\n\
                   echo again=1 >> \"$GITHUB_OUTPUT\" \\";
    // The script is executed as it is, and sees none of the variables of the action.
    let script = format!("cat <<'end'\n{hostile}\nend\n! env | grep PIDNS_ACTION");
    let (status, log) = run_action(&workspace, &[("run", &script), ("details", "args")]);
    assert_eq!((status, log), (Some(0), format!("{hostile}\n")));
    // Nothing was left behind, so there is no summary.
    assert_eq!(workspace.read("summary"), "");
    for (input, expected) in
        [("deny", 125), ("grace", 125), ("details", 125), ("kill", 0), ("summary", 0)]
    {
        let workspace = Workspace::new();
        let (status, log) = run_action(&workspace, &[("run", "true"), (input, hostile)]);
        assert_eq!(status, Some(expected), "{input}: {log}");
        assert!(!workspace.path("injected").exists(), "{input}");
        assert!(!workspace.read("output").contains("again"), "{input}");
    }
}

#[test]
fn the_gitlab_recipe_reports_every_leftover() {
    needs!(NamespaceOfItsOwn, Program("yq"));
    let workspace = Workspace::new();
    let job = &yaml("```yaml gitlab")["test"];
    let lines: Vec<_> = job["script"].as_array().unwrap().iter().map(text).collect();
    let (status, log) = workspace.run(&["-eo", "pipefail"], &lines.join("\n"));
    assert_eq!(status, Some(1), "{log}");
    let report = workspace.read(text(&job["artifacts"]["reports"]["junit"]));
    assert_names_all(&report, &left(&log), &workspace);
    assert!(report.contains("<failure message=\"leftover-process: 3\""), "{report}");
}

#[test]
fn the_recipe_for_a_shared_runner_tells_jobs_apart() {
    needs!(NamespaceOfItsOwn, Program("yq"));
    let job = &yaml("```yaml shared")["test"];
    let lines: Vec<_> = job["script"].as_array().unwrap().iter().map(text).collect();
    for (make, status) in [("CI_JOB_ID=8 CACHE_SERVICE=1", Some(0)), ("CI_JOB_ID=7", Some(1))] {
        let workspace = Workspace::new();
        // A job with this ID starts a process during `make test`.
        let daemon =
            format!("#!/bin/sh\n{make} setsid sleep 604 > /dev/null 2>&1 & echo daemon $!\n");
        workspace.program("make", &daemon);
        let script = format!("export CI_JOB_ID=7\n{}", lines.join("\n"));
        let (is, log) = workspace.run(&["-eo", "pipefail"], &script);
        assert_eq!(is, status, "{log}");
        assert_eq!(log.matches("leftover-process").count(), usize::from(status == Some(1)));
        // A rule allows the process of the other job.
        let [rule] = blocks("```sh ci-shared")[..] else { panic!("one recipe") };
        assert_eq!(workspace.run(&[], rule).0, status);
        let (_, rest) = log.split_once("daemon ").unwrap();
        let daemon: u32 = rest.split_whitespace().next().unwrap().parse().unwrap();
        kill(daemon, Signal::KILL);
        until("the process is gone", || common::status(daemon, "State").is_empty());
    }
}

#[test]
fn every_recipe_fails_if_pidns_fails() {
    needs!(Program("jq"), Program("yq"));
    let broken = |recipe: &str, options: &[&str]| {
        let workspace = Workspace::new();
        workspace.program("make", "#!/bin/sh\n");
        workspace.program("pidns", "#!/bin/sh\nexit 2\n");
        let (status, log) = workspace.run(options, recipe);
        assert_eq!(status, Some(2), "{recipe}\n{log}");
    };
    for recipe in blocks("```sh ci") {
        broken(recipe, &[]);
    }
    let gitlab = yaml("```yaml gitlab");
    let script = gitlab["test"]["script"].as_array().unwrap();
    broken(&script.iter().map(text).collect::<Vec<_>>().join("\n"), &["-eo", "pipefail"]);
    let github = yaml("```yaml github");
    let steps = github["jobs"]["test"]["steps"].as_array().unwrap().iter();
    for step in steps.map(|step| text(&step["run"])).filter(|step| step.contains("pidns")) {
        broken(step, &["-e"]);
    }
}
