# The first lines of every script file.
exec 2>&3 3>&-
{ read -r s <"/proc/$$/stat" && s=${s##*) } && set -- $s && printf '%s %s\n' "$$" "${20}" >"${0%/*}/pid"; } 2>/dev/null ||
  printf '%s\n' "$$" >"${0%/*}/pid" || exit
# The second name that it needs: who has waited for it too long has taken it, and was told that this never begins.
set -C
{ printf '' >"${0%/*}/began"; } 2>/dev/null || exit
set +C
set --
unset s
LC_ALL=C
export LC_ALL
