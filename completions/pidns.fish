# Completions of pidns for fish. `pidns completions fish` prints this file. Save it as
# pidns.fish in a directory such as /usr/share/fish/vendor_completions.d.

function __pidns_complete
    set -l words (commandline --current-process --tokenize --cut-at-cursor)
    COMPLETE=fish pidns -- $words (commandline --current-token --cut-at-cursor) 2>/dev/null
end

complete --command pidns --no-files --keep-order --arguments '(__pidns_complete)'
