# Completions of pidns for Elvish. `pidns completions elvish` prints this file. Add
# `eval (pidns completions elvish | slurp)` to ~/.config/elvish/rc.elv.

use str

set edit:completion:arg-completer[pidns] = {|@words|
    tmp E:COMPLETE = elvish
    pidns -- $@words 2>/dev/null | from-lines | each {|line|
        var value help = (str:split &max=2 "\t" $line)
        var suffix = ' '
        if (or (str:has-suffix $value =) (str:has-suffix $value /) (str:has-suffix $value ,)) {
            set suffix = ''
        }
        edit:complex-candidate $value &display=(str:trim-right $value'  '$help ' ') &code-suffix=$suffix
    }
}
