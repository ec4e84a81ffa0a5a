# Completions of pidns for Nushell (tested with 0.115). `pidns completions nushell`
# prints this file. Save it as pidns.nu, and add `use pidns.nu` to config.nu.

def "nu-complete pidns" [words: list<string>] {
    COMPLETE=nushell ^pidns -- ...$words e> /dev/null | lines | each {|line|
        let parts = $line | split row --number 2 "\t"
        # A file name can need quotes.
        let value = if $parts.0 =~ '[\s"`()|;#]' { $parts.0 | to nuon } else { $parts.0 }
        {value: $value, description: $parts.1}
    }
}

@complete "nu-complete pidns"
export extern main [...arguments: string]
