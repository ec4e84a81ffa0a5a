# Completions of pidns for GNU Bash. `pidns completions bash` prints this file. Save it as
# pidns in a directory such as /usr/share/bash-completion/completions.

_pidns() {
    # Readline also splits words at characters such as = : and @, which pidns does not.
    # This joins the parts again.
    local line=${COMP_LINE:0:COMP_POINT} words=() gap i
    for ((i = 0; i <= COMP_CWORD; i++)); do
        gap=${line%%[![:space:]]*}
        line=${line#"$gap"}
        local part=$line
        ((i < COMP_CWORD)) && part=${COMP_WORDS[i]}
        line=${line#"$part"}
        if [[ -n $gap || $i -eq 0 ]]; then
            words+=("$part")
        else
            words[${#words[@]} - 1]+=$part
        fi
    done
    local word=${words[${#words[@]} - 1]}
    # Readline replaces only the part of the word after these characters.
    local prefix=${word%"${word##*["$COMP_WORDBREAKS"]}"}

    local values=() helps=() value help
    while IFS=$'\t' read -r value help; do
        [[ $value == "$prefix"* ]] || continue
        printf -v value %q "${value#"$prefix"}"
        values+=("$value")
        helps+=("$help")
    done < <(COMPLETE=bash pidns -- "${words[@]}" 2>/dev/null)

    COMPREPLY=("${values[@]}")
    if ((${#values[@]} == 0)) && [[ $word == *[\~\$\"\']* ]]; then
        # The word contains quotes or an expansion, so Bash completes it as a file.
        compopt -o bashdefault -o default 2>/dev/null
    elif ((${#values[@]} == 1)) && [[ ${values[0]} == *[=/,] ]]; then
        compopt -o nospace 2>/dev/null
    elif ((${#values[@]} > 1 && (COMP_TYPE == 9 || COMP_TYPE == 63))) &&
        [[ ${values[0]} =~ ^[0-9]+$ ]]; then
        # In a list of PIDs, shows the name of each process.
        for i in "${!values[@]}"; do
            COMPREPLY[i]="${values[i]}${helps[i]:+  (${helps[i]})}"
        done
    fi
}

complete -o nosort -F _pidns pidns 2>/dev/null || complete -F _pidns pidns
