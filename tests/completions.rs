//! Tests the completions that pidns offers, directly and in each supported shell.

mod common;

use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

use clap::ValueEnum as _;
use common::Need::*;
use common::*;
use pidns::cli::Shell;
use pidns::emit::Format;

/// Returns the completions that pidns offers for these words, each with its description.
fn offered(words: &[&str]) -> Vec<(String, String)> {
    let mut command = Command::new(PIDNS);
    let output = run(command.env("COMPLETE", "bash").args(["--", "pidns"]).args(words));
    assert_eq!(output.stderr, b"", "{words:?}");
    let lines = stdout(&output);
    let rows = lines.lines().map(|line| line.split_once('\t').expect("a tab separates them"));
    rows.map(|(value, help)| (value.to_owned(), help.to_owned())).collect()
}

fn values(words: &[&str]) -> Vec<String> {
    offered(words).into_iter().map(|(value, _)| value).collect()
}

#[test]
fn a_command_and_a_variable_print_the_completion_scripts() {
    for (shell, file) in [
        ("bash", "pidns.bash"),
        ("zsh", "_pidns"),
        ("fish", "pidns.fish"),
        ("elvish", "pidns.elv"),
        ("nushell", "pidns.nu"),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("completions").join(file);
        let script = std::fs::read_to_string(path).unwrap();
        assert_eq!(stdout(&pidns(&["completions", shell])), script);
        let asked = run(Command::new(PIDNS).env("COMPLETE", format!("/usr/bin/{shell}")));
        assert_eq!(stdout(&asked), script);
    }
    let unknown = run(Command::new(PIDNS).env("COMPLETE", "tcsh"));
    assert_eq!((unknown.status.code(), &*unknown.stdout), (Some(2), &b""[..]));
    let said = String::from_utf8(unknown.stderr).unwrap();
    assert!(said.starts_with("pidns: cannot complete for COMPLETE=tcsh: "), "{said}");
    let shells = Shell::value_variants().len();
    assert_eq!(values(&["completions", ""]).len(), shells, "every shell is tested");
    assert_eq!(shells, 5);
}

#[test]
fn completes_options_values_and_lists() {
    let formats: Vec<_> = Format::ALL
        .iter()
        .map(|format| format.to_possible_value().unwrap().get_name().to_owned())
        .collect();
    assert_eq!(values(&["-f", ""]), formats);
    assert_eq!(values(&["--format=j"])[0], "--format=json");
    assert_eq!(values(&["--search", "fds,mo"]), ["fds,mounts"]);
    assert_eq!(values(&["--details", "args,c"]), ["args,cgroup"]);
    assert_eq!(values(&["-q", "check", "-f", "ju"]), ["junit"]);
    assert_eq!(values(&["check", "--deny", "zombie,dead"]), ["zombie,dead-namespace"]);
    assert_eq!(values(&["run", "--deny", "leftover-p"]), ["leftover-process"]);
    assert_eq!(values(&["watch", "--until", "dead-n"]), ["dead-namespace"]);
    assert_eq!(values(&["schema", "tr"]), ["translation"]);
    assert_eq!(values(&["help", "tr"]), ["translate"]);
    // pidns offers options only after a hyphen.
    let commands = values(&[""]);
    assert!(commands.iter().any(|it| it == "translate"), "{commands:?}");
    assert!(commands.iter().all(|it| it.starts_with(char::is_alphabetic)), "{commands:?}");
    // After a command, pidns offers only options of that command.
    let options = values(&["translate", "--"]);
    assert!(options.iter().any(|it| it == "--from"), "{options:?}");
    assert!(!options.iter().any(|it| it == "--search"), "{options:?}");
}

#[test]
fn processes_are_offered_with_their_names() {
    let sleep = Running::spawn(Command::new("sleep").arg("600"));
    until("the process has its name", || comm(sleep.pid()) == "sleep");
    let pid = sleep.pid().to_string();
    for (words, expected) in [
        (vec![&*pid], pid.clone()),
        (vec!["translate", ""], pid.clone()),
        (vec!["--root", "@"], format!("@{pid}")),
        (vec!["translate", "7", "--from", ""], format!("@{pid}")),
        (vec!["--root=@"], format!("--root=@{pid}")),
    ] {
        let offered = offered(&words);
        assert!(offered.contains(&(expected, "sleep".to_owned())), "{words:?}: {offered:?}");
    }
    assert_eq!(values(&["--comm", "slee"]), ["sleep"]);
    assert_eq!(values(&["run", "--", "setpri"]), ["setpriv"]);
    let owner = stdout(&run(Command::new("stat").args(["-c", "%U", &format!("/proc/{pid}")])));
    assert!(values(&["--user", ""]).contains(&owner.trim_end().to_owned()));
}

#[test]
fn offers_short_container_ids() {
    needs!(Initial("cgroup"));
    let id = "77aa1b9c04de".repeat(5) + "77aa";
    let (_running, init) = container(&format!("{SLEEP} echo ready; wait"));
    let _cgroup = Cgroup::of("completions", &format!("docker/{id}"), init);
    let expected = ("77aa1b9c04de".to_owned(), format!("{}, docker 77aa1b9c04de", comm(init)));
    assert_eq!(offered(&["--container", "77aa"]), [expected]);
    assert_eq!(values(&["--container", &id[..20]]), [&id[..20]]);
}

#[test]
fn does_not_offer_names_that_a_shell_would_execute() {
    needs!(Program("python3"));
    let (running, _) = start_command(Command::new("python3").args([
        "-c",
        "import time\n\
         open('/proc/self/comm', 'w').write('evil$(id)\\x1b[2J')\n\
         print('ready', flush=True); time.sleep(600)",
    ]));
    assert_eq!(comm(running.pid()), "evil$(id)\u{1b}[2J");
    assert_eq!(values(&["--comm", "evil"]), Vec::<String>::new());
    let (_, name) = offered(&[&running.pid().to_string()]).swap_remove(0);
    assert!(name.starts_with("evil") && !name.contains('\u{1b}'), "{name:?}");
}

#[test]
fn completes_nothing_and_reports_nothing_on_errors() {
    assert_eq!(values(&["--procfs", "/nowhere", "--comm", ""]), Vec::<String>::new());
    assert_eq!(values(&["--procfs=/etc", "--root", "@"]), Vec::<String>::new());
    assert_eq!(values(&["--frobnicate", "x", "--zzz"]), Vec::<String>::new());
    let nothing = run(Command::new(PIDNS).env("COMPLETE", "bash").arg("--"));
    assert_eq!((stdout(&nothing), nothing.stderr), (String::new(), Vec::new()));
    // Completion must also work with a small stack.
    let script = format!("ulimit -s 256; COMPLETE=bash {PIDNS} -- pidns --vers");
    assert!(stdout(&run(Command::new("bash").args(["-c", &script]))).starts_with("--version\t"));
}

/// Returns a PATH in which the pidns under test comes first.
fn path() -> String {
    let bin = Path::new(PIDNS).parent().unwrap().display().to_string();
    format!("{bin}:{}", std::env::var("PATH").unwrap())
}

/// A shell on a pseudoterminal, to which a test can type.
struct Terminal {
    _script: Running,
    keys: ChildStdin,
    screen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn start(shell: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new("script");
        command.args(["-qec", &format!("stty rows 50 cols 200; exec {shell}"), "/dev/null"]);
        command.env("PATH", path()).env("HOME", home.path()).env("TERM", "xterm");
        command.env("LC_ALL", "C.UTF-8").env_remove("COMPLETE");
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut script = Running(command.process_group(0).spawn().unwrap());
        let keys = script.0.stdin.take().unwrap();
        let mut output = script.0.stdout.take().unwrap();
        let screen = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&screen);
        std::thread::spawn(move || {
            let _home = home;
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                written.lock().unwrap().extend(&buffer[..length]);
            }
        });
        Self { _script: script, keys, screen }
    }

    /// Types keys, and waits until the terminal shows `expected`. Because the terminal also echoes
    /// the keys, the keys must not contain `expected`.
    fn type_until(&mut self, keys: &str, expected: &str) {
        let before = self.screen.lock().unwrap().len();
        let (mut seen, mut asked) = (before, String::new());
        self.keys.write_all(keys.as_bytes()).unwrap();
        until(&format!("{keys:?} makes {expected:?}"), || {
            let screen = self.screen.lock().unwrap();
            let text = String::from_utf8_lossy(&screen[before..]).into_owned();
            // Some shells query the cursor position and wait for the reply of the terminal.
            asked.push_str(&String::from_utf8_lossy(&screen[seen..]));
            seen = screen.len();
            let questions = asked.matches("\u{1b}[6n").count();
            if questions > 0 {
                asked.clear();
                self.keys.write_all("\u{1b}[1;1R".repeat(questions).as_bytes()).unwrap();
            }
            text.contains(expected)
        });
    }
}

/// Types incomplete command lines in a shell, completes them with the Tab key, and checks the
/// output of each command.
fn completes(shell: &str, setup: &str, accept: &str) {
    let mut terminal = Terminal::start(shell);
    terminal.type_until(&format!("{setup}\r"), "ready");
    terminal.type_until(&format!("pidns --versio\t{accept}\r"), "pidns 0.");
    terminal.type_until(&format!("pidns schema tran\t{accept}\r"), "pidns translation");
    terminal.type_until(&format!("pidns --color=nev\t{accept} --versio\t{accept}\r"), "pidns 0.");
    terminal
        .type_until(&format!("pidns -q --search fds,proc\t{accept} -f do\t{accept}\r"), "digraph");
}

#[test]
fn bash_completes_at_the_terminal() {
    needs!(Program("script"));
    completes("bash --norc --noprofile", "source completions/pidns.bash; echo re''ady", "");
}

#[test]
fn bash_keeps_words_together_and_names_processes() {
    let own = std::process::id();
    let complete = |line: &str, words: &str, at: usize| {
        let script = format!(
            "source completions/pidns.bash; COMP_LINE={line:?}; COMP_POINT=${{#COMP_LINE}}; \
             COMP_WORDS=({words}); COMP_CWORD={at}; COMP_TYPE=9; _pidns; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let mut bash = Command::new("bash");
        bash.args(["-c", &script]).env("PATH", path());
        stdout(&run(bash.current_dir(env!("CARGO_MANIFEST_DIR"))))
    };
    // Readline splits words at = and @, and replaces only the part after these characters.
    assert_eq!(complete("pidns --color=n", "pidns --color = n", 3), "never\n");
    assert_eq!(complete("pidns --color=", "pidns --color =", 2), "auto\nalways\nnever\n");
    let root = complete("pidns --root @", "pidns --root @", 2);
    let row = format!("{own}  ({})", comm(own));
    assert!(root.lines().any(|line| line == row), "{row} in {root}");
    let pids = complete(&format!("pidns -q --root @{own}"), &format!("pidns -q --root @ {own}"), 4);
    assert!(pids.lines().any(|line| line == row || line == own.to_string()), "{pids}");
}

#[test]
fn zsh_completes_at_the_terminal() {
    needs!(Program("script"), Program("zsh"));
    let setup = "autoload -U compinit; compinit -u -D; source completions/_pidns; echo re''ady";
    completes("zsh -f", setup, "");
    // Load the script from a directory in `fpath`, where packages install it.
    let setup = "fpath=(completions $fpath); autoload -U compinit; compinit -u -D; echo re''ady";
    completes("zsh -f", setup, "");
}

#[test]
fn fish_completes_at_the_terminal_and_offers_no_files_for_a_format() {
    needs!(Program("script"), Program("fish"));
    completes("fish --no-config", "source completions/pidns.fish; echo re''ady", "");
    let script = "source completions/pidns.fish; complete -C 'pidns -f '";
    let mut fish = Command::new("fish");
    let fish = fish.args(["--no-config", "-c", script]).env("PATH", path());
    let offered = stdout(&run(fish.current_dir(env!("CARGO_MANIFEST_DIR"))));
    assert_eq!(offered.lines().count(), Format::ALL.len(), "{offered}");
    assert!(offered.starts_with("text\tA human-readable tree\n"), "{offered}");
}

#[test]
fn elvish_completes_at_the_terminal() {
    needs!(Program("script"), Program("elvish"));
    // Elvish lists even a single completion, and the user accepts it with Enter.
    let setup = "eval (pidns completions elvish | slurp); echo re''ady";
    completes("elvish -norc", setup, "\r");
}

/// Needs `nu` in PATH. Install it with `npm install --global @nushell/linux-x64`.
#[test]
#[ignore = "needs Nushell, which Debian lacks; the CI workflow installs it and runs this test"]
fn nushell_completes_at_the_terminal() {
    completes("nu --no-config-file", "use completions/pidns.nu; print ('re' + 'ady')", "");
}
