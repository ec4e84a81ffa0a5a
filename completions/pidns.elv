
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
            cand --search 'Where to look for namespaces: a list of processes, children (every process''s pid_for_children), threads (every thread''s, and tables of its own), fds and mounts; or all'
            cand --procfs 'The procfs to read, such as a host''s /proc bound into a container'
            cand -i 'Read a saved document, JSON or YAML, instead of the live kernel; - is standard input'
            cand --input 'Read a saved document, JSON or YAML, instead of the live kernel; - is standard input'
            cand -f 'Output format'
            cand --format 'Output format'
            cand --color 'When to colour text; NO_COLOR and CLICOLOR are respected'
            cand --pretty 'Indent JSON even when it does not go to a terminal'
            cand --ascii 'Draw text with lines and arrows in ASCII'
            cand --strict 'Exit with status 3 if the view is incomplete'
            cand -q 'No warnings on standard error'
            cand --quiet 'No warnings on standard error'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand schema 'Print the JSON Schema of the document that json and yaml hold'
            cand completions 'Print a completion script'
            cand man 'Print the manual page, for man -l -'
        }
        &'pidns;schema'= {
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'pidns;completions'= {
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'pidns;man'= {
            cand -h 'Print help'
            cand --help 'Print help'
        }
    ]
    $completions[$command]
}
