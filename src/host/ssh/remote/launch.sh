# Starts the script, at most once: only whole, only on the right machine, only where its name was not taken before.
if [ -n "$fl_machine" ]; then
  fl_seen=
  if [ -r /etc/machine-id ]; then
    read -r fl_seen </etc/machine-id || :
  fi
  if [ "$fl_seen" != "$fl_machine" ]; then
    fl_no "another machine: /etc/machine-id is ${fl_seen:-absent}, expected $fl_machine"
  fi
fi

fl_find_place
fl_said=$(mkdir -p -- "$fl_place" 2>&1) || fl_no "cannot make $fl_place: $fl_said"
if [ -e "$fl_place/script" ]; then
  fl_no "$fl_place/script exists: this attempt was begun before"
fi
fl_new=$fl_place/script.$$
if ! fl_said=$({ cat >"$fl_new"; } 2>&1); then
  rm -f -- "$fl_new"
  fl_no "cannot write $fl_new: $fl_said"
fi
# A connection that breaks in the middle of the text ends it early.
if [ "$(($(wc -c <"$fl_new")))" != "$fl_size" ]; then
  rm -f -- "$fl_new"
  fl_no "the script did not arrive whole"
fi
fl_boot=
if [ -r /proc/sys/kernel/random/boot_id ]; then
  read -r fl_boot </proc/sys/kernel/random/boot_id || :
fi
if ! fl_said=$({ printf '%s\n' "$fl_boot" >"$fl_place/boot" && : >>"$fl_place/died"; } 2>&1); then
  rm -f -- "$fl_new"
  fl_no "cannot write into $fl_place: $fl_said"
fi
# The one atomic step that decides who runs it.
if ! fl_said=$(ln -- "$fl_new" "$fl_place/script" 2>&1); then
  rm -f -- "$fl_new"
  if [ -e "$fl_place/script" ]; then
    fl_no "$fl_place/script exists: this attempt was begun before"
  fi
  fl_no "cannot name $fl_place/script: $fl_said"
fi
rm -f -- "$fl_new"

fl_setsid=setsid
command -v setsid >/dev/null 2>&1 || fl_setsid=
# The script has its name now, so it must begin: a connection that broke a moment ago must not end this shell by SIGPIPE.
(
  trap '' PIPE
  fl_go
)
# Apart from this shell's session: whatever ends the login, sudo or sshd does not end the step.
# shellcheck disable=SC2154 # The controller sends it as a value.
$fl_setsid /bin/sh -c "$fl_core" fleetlift "$fl_mark" "$fl_place" "$fl_setsid" </dev/null
exit 0
