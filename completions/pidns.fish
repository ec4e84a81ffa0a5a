# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_pidns_global_optspecs
    string join \n search= details= procfs= i/input= r/root= depth= members= comm= user= container= state= f/format= pretty color= ascii no-fold strict q/quiet h/help V/version
end

function __fish_pidns_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_pidns_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_pidns_using_subcommand
    set -l cmd (__fish_pidns_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c pidns -n "__fish_pidns_needs_command" -l search -d 'Where to look for namespaces, beside every process\'s own: a list with commas' -r -f -a "processes\t'Every process\'s own namespace'
children\t'Every process\'s pid_for_children'
threads\t'Every thread\'s pid_for_children, and descriptors and mounts of its own'
fds\t'Every file descriptor table'
mounts\t'The mount table of every mount namespace in reach'
all\t'All of these'"
complete -c pidns -n "__fish_pidns_needs_command" -l details -d 'What else to read of every process: a list with commas; args may hold secrets' -r -f -a "args\t'Command lines, which may hold secrets'
namespaces\t'The namespaces of other types'
cgroup\t'Cgroups'
all\t'All of these'"
complete -c pidns -n "__fish_pidns_needs_command" -l procfs -d 'The procfs to read, such as a host\'s /proc bound into a container' -r -f -a "(__fish_complete_directories)"
complete -c pidns -n "__fish_pidns_needs_command" -s i -l input -d 'Read a saved document, JSON or YAML, instead of the live kernel; - is standard input' -r -F
complete -c pidns -n "__fish_pidns_needs_command" -s r -l root -d 'Only this namespace and what is below it. NS is an inode, pid:[INODE], pid:[?PID], @PID for that of a process, or a path such as /proc/12/ns/pid' -r
complete -c pidns -n "__fish_pidns_needs_command" -l depth -d 'Only namespaces at most N levels below --root or the topmost; 0 for these alone' -r
complete -c pidns -n "__fish_pidns_needs_command" -l members -d 'Which members to show of the namespaces' -r -f -a "all\t'All that are selected'
init\t'Its PID 1 alone'
none\t'None; only namespaces'"
complete -c pidns -n "__fish_pidns_needs_command" -l comm -d 'Only processes with such a name, which the kernel cuts to 15 bytes; *, ?, [a-z] and [!a-z] are wild' -r
complete -c pidns -n "__fish_pidns_needs_command" -l user -d 'Only processes of this user' -r
complete -c pidns -n "__fish_pidns_needs_command" -l container -d 'Only the container whose id, or whose pod\'s UID, begins so: its namespaces and what is below them, and its processes in others. Reads cgroups (see --details)' -r
complete -c pidns -n "__fish_pidns_needs_command" -l state -d 'Only namespaces in this state; and, among their ancestors, those who keep them' -r -f -a "live\t'Its init runs'
dead\t'Its init has terminated: every fork into it fails (ENOMEM)'
nascent\t'Made, but without a first process yet'
unknown\t'None of these could be proved'"
complete -c pidns -n "__fish_pidns_needs_command" -s f -l format -d 'Output format' -r -f -a "text\t'A tree for people'
json\t'The document that `pidns schema` describes'
yaml\t'The same document as YAML'
dot\t'A picture, for Graphviz'
mermaid\t'A picture, for Markdown as GitHub and others draw it'"
complete -c pidns -n "__fish_pidns_needs_command" -l color -d 'When to colour text; NO_COLOR and CLICOLOR are respected' -r -f -a "auto\t'On a terminal'
always\t'Also elsewhere'
never\t'Nowhere'"
complete -c pidns -n "__fish_pidns_needs_command" -l pretty -d 'Indent JSON even when it does not go to a terminal'
complete -c pidns -n "__fish_pidns_needs_command" -l ascii -d 'Draw text in ASCII alone; the default where the locale is not UTF-8'
complete -c pidns -n "__fish_pidns_needs_command" -l no-fold -d 'Give every process and namespace a line of its own in text and pictures'
complete -c pidns -n "__fish_pidns_needs_command" -l strict -d 'Exit with status 3 if the view is incomplete'
complete -c pidns -n "__fish_pidns_needs_command" -s q -l quiet -d 'No warnings on standard error'
complete -c pidns -n "__fish_pidns_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pidns -n "__fish_pidns_needs_command" -s V -l version -d 'Print version'
complete -c pidns -n "__fish_pidns_needs_command" -a "translate" -d 'Print a process\'s PID in another PID namespace'
complete -c pidns -n "__fish_pidns_needs_command" -a "check" -d 'Say what is wrong on this host, and fail if it must not be'
complete -c pidns -n "__fish_pidns_needs_command" -a "diff" -d 'Say what came, went and changed between two views'
complete -c pidns -n "__fish_pidns_needs_command" -a "run" -d 'Run a command and say what it leaves behind'
complete -c pidns -n "__fish_pidns_needs_command" -a "schema" -d 'Print the JSON Schema of what json (and yaml) hold'
complete -c pidns -n "__fish_pidns_needs_command" -a "completions" -d 'Print a completion script'
complete -c pidns -n "__fish_pidns_needs_command" -a "man" -d 'Print the manual page, for man -l -'
complete -c pidns -n "__fish_pidns_using_subcommand translate" -l from -d 'The namespace that PID is in: an inode, pid:[INODE], pid:[?PID], @PID for that of a process, or a path such as /proc/12/ns/pid' -r
complete -c pidns -n "__fish_pidns_using_subcommand translate" -l to -d 'The namespace to translate it to, likewise' -r
complete -c pidns -n "__fish_pidns_using_subcommand translate" -l procfs -d 'The procfs to read, such as a host\'s /proc bound into a container' -r -f -a "(__fish_complete_directories)"
complete -c pidns -n "__fish_pidns_using_subcommand translate" -s i -l input -d 'Read a saved document, JSON or YAML, instead of the live kernel; - is standard input' -r -F
complete -c pidns -n "__fish_pidns_using_subcommand translate" -s f -l format -d 'Output format' -r -f -a "text\t'The number alone'
json\t'With the PIDs in all levels; `pidns schema translation` describes it'"
complete -c pidns -n "__fish_pidns_using_subcommand translate" -l pretty -d 'Indent JSON even when it does not go to a terminal'
complete -c pidns -n "__fish_pidns_using_subcommand translate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pidns -n "__fish_pidns_using_subcommand check" -l since -d 'Compare with this saved document: what was not there before is a leftover' -r -F
complete -c pidns -n "__fish_pidns_using_subcommand check" -l deny -d 'Fail if there is such a thing. RULE is a code, or CODE:KEY=VALUE for a part of it: comm=GLOB, ns=NS, container=PREFIX, user=NAME' -r
complete -c pidns -n "__fish_pidns_using_subcommand check" -l warn -d 'Say that there is, and do not fail' -r
complete -c pidns -n "__fish_pidns_using_subcommand check" -l allow -d 'Pass over it' -r
complete -c pidns -n "__fish_pidns_using_subcommand check" -l policy -d 'Read rules from this file (YAML); those of the options go before them' -r -F
complete -c pidns -n "__fish_pidns_using_subcommand check" -l wait -d 'Look again until nothing is denied, or this time is over' -r
complete -c pidns -n "__fish_pidns_using_subcommand check" -l search -d 'Where to look for namespaces, beside every process\'s own: a list with commas' -r -f -a "processes\t'Every process\'s own namespace'
children\t'Every process\'s pid_for_children'
threads\t'Every thread\'s pid_for_children, and descriptors and mounts of its own'
fds\t'Every file descriptor table'
mounts\t'The mount table of every mount namespace in reach'
all\t'All of these'"
complete -c pidns -n "__fish_pidns_using_subcommand check" -l details -d 'What else to read of every process: a list with commas; args may hold secrets' -r -f -a "args\t'Command lines, which may hold secrets'
namespaces\t'The namespaces of other types'
cgroup\t'Cgroups'
all\t'All of these'"
complete -c pidns -n "__fish_pidns_using_subcommand check" -l procfs -d 'The procfs to read, such as a host\'s /proc bound into a container' -r -f -a "(__fish_complete_directories)"
complete -c pidns -n "__fish_pidns_using_subcommand check" -s i -l input -d 'Read a saved document, JSON or YAML, instead of the live kernel; - is standard input' -r -F
complete -c pidns -n "__fish_pidns_using_subcommand check" -s r -l root -d 'Only this namespace and what is below it. NS is an inode, pid:[INODE], pid:[?PID], @PID for that of a process, or a path such as /proc/12/ns/pid' -r
complete -c pidns -n "__fish_pidns_using_subcommand check" -l depth -d 'Only namespaces at most N levels below --root or the topmost; 0 for these alone' -r
complete -c pidns -n "__fish_pidns_using_subcommand check" -l members -d 'Which members to show of the namespaces' -r -f -a "all\t'All that are selected'
init\t'Its PID 1 alone'
none\t'None; only namespaces'"
complete -c pidns -n "__fish_pidns_using_subcommand check" -l comm -d 'Only processes with such a name, which the kernel cuts to 15 bytes; *, ?, [a-z] and [!a-z] are wild' -r
complete -c pidns -n "__fish_pidns_using_subcommand check" -l user -d 'Only processes of this user' -r
complete -c pidns -n "__fish_pidns_using_subcommand check" -l container -d 'Only the container whose id, or whose pod\'s UID, begins so: its namespaces and what is below them, and its processes in others. Reads cgroups (see --details)' -r
complete -c pidns -n "__fish_pidns_using_subcommand check" -l state -d 'Only namespaces in this state; and, among their ancestors, those who keep them' -r -f -a "live\t'Its init runs'
dead\t'Its init has terminated: every fork into it fails (ENOMEM)'
nascent\t'Made, but without a first process yet'
unknown\t'None of these could be proved'"
complete -c pidns -n "__fish_pidns_using_subcommand check" -s f -l format -d 'Output format' -r -f -a "text\t'A line or two for each finding, for people'
json\t'The findings, as `pidns schema check` describes them'
ndjson\t'The same as records, one a line, as `pidns schema check-record` describes'
github\t'Workflow commands, which GitHub Actions shows as annotations'
junit\t'JUnit XML, a test case for each code'
markdown\t'A table for a job\'s summary'"
complete -c pidns -n "__fish_pidns_using_subcommand check" -l color -d 'When to colour text; NO_COLOR and CLICOLOR are respected' -r -f -a "auto\t'On a terminal'
always\t'Also elsewhere'
never\t'Nowhere'"
complete -c pidns -n "__fish_pidns_using_subcommand check" -l pretty -d 'Indent JSON even when it does not go to a terminal'
complete -c pidns -n "__fish_pidns_using_subcommand check" -l ascii -d 'Draw text in ASCII alone; the default where the locale is not UTF-8'
complete -c pidns -n "__fish_pidns_using_subcommand check" -l no-fold -d 'Give every process and namespace a line of its own in text and pictures'
complete -c pidns -n "__fish_pidns_using_subcommand check" -l strict -d 'Exit with status 3 if the view is incomplete'
complete -c pidns -n "__fish_pidns_using_subcommand check" -s q -l quiet -d 'No warnings on standard error'
complete -c pidns -n "__fish_pidns_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pidns -n "__fish_pidns_using_subcommand diff" -l procfs -d 'The procfs to read where AFTER is the live kernel' -r -f -a "(__fish_complete_directories)"
complete -c pidns -n "__fish_pidns_using_subcommand diff" -s r -l root -d 'Only this namespace and what is below it. NS is an inode, pid:[INODE], pid:[?PID], @PID for that of a process, or a path such as /proc/12/ns/pid' -r
complete -c pidns -n "__fish_pidns_using_subcommand diff" -l depth -d 'Only namespaces at most N levels below --root or the topmost; 0 for these alone' -r
complete -c pidns -n "__fish_pidns_using_subcommand diff" -l members -d 'Which members to show of the namespaces' -r -f -a "all\t'All that are selected'
init\t'Its PID 1 alone'
none\t'None; only namespaces'"
complete -c pidns -n "__fish_pidns_using_subcommand diff" -l comm -d 'Only processes with such a name, which the kernel cuts to 15 bytes; *, ?, [a-z] and [!a-z] are wild' -r
complete -c pidns -n "__fish_pidns_using_subcommand diff" -l user -d 'Only processes of this user' -r
complete -c pidns -n "__fish_pidns_using_subcommand diff" -l container -d 'Only the container whose id, or whose pod\'s UID, begins so: its namespaces and what is below them, and its processes in others. Reads cgroups (see --details)' -r
complete -c pidns -n "__fish_pidns_using_subcommand diff" -l state -d 'Only namespaces in this state; and, among their ancestors, those who keep them' -r -f -a "live\t'Its init runs'
dead\t'Its init has terminated: every fork into it fails (ENOMEM)'
nascent\t'Made, but without a first process yet'
unknown\t'None of these could be proved'"
complete -c pidns -n "__fish_pidns_using_subcommand diff" -s f -l format -d 'Output format' -r -f -a "text\t'A tree of what changed, each line with +, - or ~, for people'
json\t'The comparison that `pidns schema diff` describes'
ndjson\t'The same as records, one a line, as `pidns schema diff-record` describes'
mermaid\t'A picture of what changed, for Markdown as GitHub and others draw it'"
complete -c pidns -n "__fish_pidns_using_subcommand diff" -l color -d 'When to colour text; NO_COLOR and CLICOLOR are respected' -r -f -a "auto\t'On a terminal'
always\t'Also elsewhere'
never\t'Nowhere'"
complete -c pidns -n "__fish_pidns_using_subcommand diff" -l kernel-threads -d 'Also compare threads of the kernel'
complete -c pidns -n "__fish_pidns_using_subcommand diff" -l pretty -d 'Indent JSON even when it does not go to a terminal'
complete -c pidns -n "__fish_pidns_using_subcommand diff" -l ascii -d 'Draw text in ASCII alone; the default where the locale is not UTF-8'
complete -c pidns -n "__fish_pidns_using_subcommand diff" -l no-fold -d 'Give every process and namespace a line of its own in text and pictures'
complete -c pidns -n "__fish_pidns_using_subcommand diff" -l strict -d 'Exit with status 3 if the view is incomplete'
complete -c pidns -n "__fish_pidns_using_subcommand diff" -s q -l quiet -d 'No warnings on standard error'
complete -c pidns -n "__fish_pidns_using_subcommand diff" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pidns -n "__fish_pidns_using_subcommand run" -l deny -d 'Exit with status 1 if CMD succeeds but leaves such a thing behind; may be given more than once, or as a list. By default nothing is denied' -r -f -a "dead-namespace\t'A PID namespace whose init has terminated: nothing can be forked into it.'
leftover-process\t'A process that was not there before (--since), or that a command left; no zombie.'
leftover-namespace\t'A PID namespace that was not there before (--since), or that a command made and left.'
nascent-namespace\t'A PID namespace that has had no process yet.'
zombie\t'A process that has terminated, and that its parent does not reap.'"
complete -c pidns -n "__fish_pidns_using_subcommand run" -l grace -d 'How long what CMD started may take to end after it' -r
complete -c pidns -n "__fish_pidns_using_subcommand run" -l report -d 'Also write the report to this file' -r -F
complete -c pidns -n "__fish_pidns_using_subcommand run" -s f -l format -d 'Format of that file' -r -f -a "text\t'A tree for people'
json\t'With a document of what was left, which `pidns schema` describes'"
complete -c pidns -n "__fish_pidns_using_subcommand run" -l kill -d 'Kill what is left: TERM, then, after the grace time once more, KILL'
complete -c pidns -n "__fish_pidns_using_subcommand run" -s q -l quiet -d 'Do not report on standard error'
complete -c pidns -n "__fish_pidns_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pidns -n "__fish_pidns_using_subcommand schema" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pidns -n "__fish_pidns_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pidns -n "__fish_pidns_using_subcommand man" -s h -l help -d 'Print help'
