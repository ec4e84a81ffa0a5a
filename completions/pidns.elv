
use builtin;
use str;

set edit:completion:arg-completer[pidns] = {|@words|
    fn spaces {|n|
        builtin:repeat $n ' ' | str:join ''
    }
    fn cand {|text desc|
        edit:complex-candidate $text &display=$text' '(spaces (- 14 (wcswidth $text)))$desc
    }
    var command = 'pidns'
    for word $words[1..-1] {
        if (str:has-prefix $word '-') {
            break
        }
        set command = $command';'$word
    }
    var completions = [
        &'pidns'= {
            cand --search 'Where to look for namespaces, beside every process''s own: a list with commas'
            cand --details 'What else to read of every process: a list with commas; args may hold secrets'
            cand --procfs 'The procfs to read, such as a host''s /proc bound into a container'
            cand -i 'Read a saved document, JSON or YAML, instead of the live kernel; - is standard input'
            cand --input 'Read a saved document, JSON or YAML, instead of the live kernel; - is standard input'
            cand -r 'Only this namespace and what is below it. NS is an inode, pid:[INODE], pid:[?PID], @PID for that of a process, or a path such as /proc/12/ns/pid'
            cand --root 'Only this namespace and what is below it. NS is an inode, pid:[INODE], pid:[?PID], @PID for that of a process, or a path such as /proc/12/ns/pid'
            cand --depth 'Only namespaces at most N levels below --root or the topmost; 0 for these alone'
            cand --members 'Which members to show of the namespaces'
            cand --comm 'Only processes with such a name, which the kernel cuts to 15 bytes; *, ?, [a-z] and [!a-z] are wild'
            cand --user 'Only processes of this user'
            cand --container 'Only the container whose id, or whose pod''s UID, begins so: its namespaces and what is below them, and its processes in others. Reads cgroups (see --details)'
            cand --state 'Only namespaces in this state; and, among their ancestors, those who keep them'
            cand -f 'Output format'
            cand --format 'Output format'
            cand --color 'When to colour text; NO_COLOR and CLICOLOR are respected'
            cand --pretty 'Indent JSON even when it does not go to a terminal'
            cand --ascii 'Draw text in ASCII alone; the default where the locale is not UTF-8'
            cand --strict 'Exit with status 3 if the view is incomplete'
            cand -q 'No warnings on standard error'
            cand --quiet 'No warnings on standard error'
            cand --no-fold 'Give every process and namespace a line of its own in text and pictures'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand translate 'Print PIDs of processes in another PID namespace'
            cand check 'Say what is wrong on this host, and fail if it must not be'
            cand diff 'Say what came, went and changed between two views'
            cand run 'Run a command and say what it leaves behind'
            cand schema 'Print the JSON Schema of what json (and yaml) hold'
            cand completions 'Print a completion script'
            cand man 'Print the manual page, for man -l -'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'pidns;translate'= {
            cand --from 'The namespace those PIDs are in: an inode, pid:[INODE], pid:[?PID], @PID for that of a process, or a path such as /proc/12/ns/pid'
            cand --to 'The namespace to translate them to, likewise'
            cand --procfs 'The procfs to read, such as a host''s /proc bound into a container'
            cand -i 'Read a saved document, JSON or YAML, instead of the live kernel; - is standard input'
            cand --input 'Read a saved document, JSON or YAML, instead of the live kernel; - is standard input'
            cand -f 'Output format'
            cand --format 'Output format'
            cand --pretty 'Indent JSON even when it does not go to a terminal'
            cand -q 'No warnings on standard error'
            cand --quiet 'No warnings on standard error'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'pidns;check'= {
            cand --since 'Compare with this saved document: what was not there before is a leftover'
            cand --deny 'Fail if there is such a thing. RULE is a code, or CODE:KEY=VALUE for a part of it: comm=GLOB, ns=NS, container=PREFIX, user=NAME'
            cand --warn 'Say that there is, and do not fail'
            cand --allow 'Pass over it'
            cand --policy 'Read rules from this file (YAML); those of the options go before them'
            cand --wait 'Look again until nothing is denied, or this time is over'
            cand --search 'Where to look for namespaces, beside every process''s own: a list with commas'
            cand --procfs 'The procfs to read, such as a host''s /proc bound into a container'
            cand -i 'Read a saved document, JSON or YAML, instead of the live kernel; - is standard input'
            cand --input 'Read a saved document, JSON or YAML, instead of the live kernel; - is standard input'
            cand -r 'Only this namespace and what is below it. NS is an inode, pid:[INODE], pid:[?PID], @PID for that of a process, or a path such as /proc/12/ns/pid'
            cand --root 'Only this namespace and what is below it. NS is an inode, pid:[INODE], pid:[?PID], @PID for that of a process, or a path such as /proc/12/ns/pid'
            cand --depth 'Only namespaces at most N levels below --root or the topmost; 0 for these alone'
            cand --members 'Which members to show of the namespaces'
            cand --comm 'Only processes with such a name, which the kernel cuts to 15 bytes; *, ?, [a-z] and [!a-z] are wild'
            cand --user 'Only processes of this user'
            cand --container 'Only the container whose id, or whose pod''s UID, begins so: its namespaces and what is below them, and its processes in others. Reads cgroups (see --details)'
            cand --state 'Only namespaces in this state; and, among their ancestors, those who keep them'
            cand -f 'Output format'
            cand --format 'Output format'
            cand --color 'When to colour text; NO_COLOR and CLICOLOR are respected'
            cand --pretty 'Indent JSON even when it does not go to a terminal'
            cand --ascii 'Draw text in ASCII alone; the default where the locale is not UTF-8'
            cand --strict 'Exit with status 3 if the view is incomplete'
            cand -q 'No warnings on standard error'
            cand --quiet 'No warnings on standard error'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'pidns;diff'= {
            cand --procfs 'The procfs to read where AFTER is the live kernel'
            cand -r 'Only this namespace and what is below it. NS is an inode, pid:[INODE], pid:[?PID], @PID for that of a process, or a path such as /proc/12/ns/pid'
            cand --root 'Only this namespace and what is below it. NS is an inode, pid:[INODE], pid:[?PID], @PID for that of a process, or a path such as /proc/12/ns/pid'
            cand --depth 'Only namespaces at most N levels below --root or the topmost; 0 for these alone'
            cand --members 'Which members to show of the namespaces'
            cand --comm 'Only processes with such a name, which the kernel cuts to 15 bytes; *, ?, [a-z] and [!a-z] are wild'
            cand --user 'Only processes of this user'
            cand --container 'Only the container whose id, or whose pod''s UID, begins so: its namespaces and what is below them, and its processes in others. Reads cgroups (see --details)'
            cand --state 'Only namespaces in this state; and, among their ancestors, those who keep them'
            cand -f 'Output format'
            cand --format 'Output format'
            cand --color 'When to colour text; NO_COLOR and CLICOLOR are respected'
            cand --kernel-threads 'Also compare threads of the kernel'
            cand --pretty 'Indent JSON even when it does not go to a terminal'
            cand --ascii 'Draw text in ASCII alone; the default where the locale is not UTF-8'
            cand --strict 'Exit with status 3 if the view is incomplete'
            cand -q 'No warnings on standard error'
            cand --quiet 'No warnings on standard error'
            cand --no-fold 'Give every process and namespace a line of its own in text and pictures'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'pidns;run'= {
            cand --deny 'Exit with status 1 if CMD succeeds but leaves such a thing behind; may be given more than once, or as a list. By default nothing is denied'
            cand --grace 'How long what CMD started may take to end after it'
            cand --report 'Also write the report to this file'
            cand -f 'Format of that file'
            cand --format 'Format of that file'
            cand --kill 'Kill what is left: TERM, then, after the grace time once more, KILL'
            cand -q 'Do not report on standard error'
            cand --quiet 'Do not report on standard error'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'pidns;schema'= {
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'pidns;completions'= {
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'pidns;man'= {
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'pidns;help'= {
            cand translate 'Print PIDs of processes in another PID namespace'
            cand check 'Say what is wrong on this host, and fail if it must not be'
            cand diff 'Say what came, went and changed between two views'
            cand run 'Run a command and say what it leaves behind'
            cand schema 'Print the JSON Schema of what json (and yaml) hold'
            cand completions 'Print a completion script'
            cand man 'Print the manual page, for man -l -'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'pidns;help;translate'= {
        }
        &'pidns;help;check'= {
        }
        &'pidns;help;diff'= {
        }
        &'pidns;help;run'= {
        }
        &'pidns;help;schema'= {
        }
        &'pidns;help;completions'= {
        }
        &'pidns;help;man'= {
        }
        &'pidns;help;help'= {
        }
    ]
    $completions[$command]
}
