# Starts the script, at most once: only whole, only on the right machine, only where its name was not taken before.
fl_find_place
fl_find_boot
fl_hold
fl_said=$(mkdir -p -- "$fl_place" 2>&1) || fl_no "cannot make $fl_place: $fl_said"
# Whoever finds the name taken asks what became of it.
if [ -e "$fl_place/script" ]; then
  fl_no 'begun before'
fi
# A script that came behind this program. A connection that breaks in the middle of it ends it early.
if [ -n "$fl_size" ]; then
  fl_new=$fl_place/script.$$
  if ! fl_said=$({ cat >"$fl_new"; } 2>&1); then
    rm -f -- "$fl_new"
    fl_no "cannot write $fl_new: $fl_said"
  fi
  if [ "$(($(wc -c <"$fl_new")))" != "$fl_size" ]; then
    rm -f -- "$fl_new"
    fl_no "the script did not arrive whole"
  fi
fi

# Keeps this program on the host for the scripts to come, where nobody but its user could change it, and says where.
fl_keep_launcher() {
  [ -n "$fl_library" ] || return 0
  fl_kept=$fl_root/bin/$fl_name
  if [ ! -e "$fl_kept" ]; then
    {
      mkdir -p -- "$fl_root/bin" && printf '%s' "$fl_library" >"$fl_kept.$$" && mv -f -- "$fl_kept.$$" "$fl_kept"
    } 2>/dev/null || return 0
  fi
  [ "$(cat -- "$fl_kept" 2>/dev/null && echo x)" = "${fl_library}x" ] || return 0
  fl_find_uid
  # What stands in a folder of another user is not run by root.
  # shellcheck disable=SC2012 # Modes and owners are asked for, not names.
  ls -ldn -- "$fl_root" "$fl_root/bin" "$fl_kept" 2>/dev/null | {
    while read -r fl_key fl_rest fl_real fl_rest; do
      case $fl_key in
        ?????w* | ????????w*) exit 1 ;;
      esac
      [ "$fl_real" = "$fl_uid" ] || exit 1
    done
  } || return 0
  printf '%s-at %s\n' "$fl_mark" "$fl_root" >&2
}
fl_keep_launcher

# Beside the boot stands who may begin the script, until that has said its own number.
fl_write_beside() {
  printf '%s\n%s\n' "$fl_boot" "$$" >"$fl_place/boot" && printf '' >>"$fl_place/died"
}
if ! { fl_write_beside; } 2>/dev/null; then
  fl_said=$({ fl_write_beside; } 2>&1)
  [ -z "$fl_size" ] || rm -f -- "$fl_new"
  fl_no "cannot write into $fl_place: $fl_said"
fi

# The one atomic step that decides who runs it: a name that is made once, by `ln`, or by a shell that makes no file anew.
if [ -n "$fl_size" ]; then
  fl_said=$(ln -- "$fl_new" "$fl_place/script" 2>&1)
  fl_code=$?
  rm -f -- "$fl_new"
else
  fl_code=
  fl_said='no room'
  set -C
  { { fl_code=1 && printf %s "$fl_script" && fl_code=0; } >"$fl_place/script"; } 2>/dev/null
  set +C
  # Made, and not written whole: nobody runs it.
  [ "$fl_code" != 1 ] || rm -f -- "$fl_place/script"
  : "${fl_code:=1}"
fi
if [ "$fl_code" != 0 ]; then
  [ -e "$fl_place/script" ] && fl_no 'begun before'
  fl_no "cannot name $fl_place/script: $fl_said"
fi
# Whoever takes the lock looks for scripts afterwards, and we look for the lock after our script is there: so not both of us
# can miss the other, however long this shell was kept waiting.
if ! fl_still_held; then
  printf '#never\n' >"$fl_place/script"
  fl_read_lock
  fl_locked "which took it a moment ago"
fi

fl_setsid=setsid
command -v setsid >/dev/null 2>&1 || fl_setsid=
# The script has its name now, so it must begin: a connection that broke a moment ago must not end this shell by SIGPIPE.
trap '' PIPE
fl_go
trap - PIPE
# Apart from this shell's session: whatever ends the login, sudo or sshd does not end the step.
# shellcheck disable=SC2154 # The controller sends it as a value.
$fl_setsid /bin/sh -c "$fl_core" fleetlift "$fl_mark" "$fl_place" "$fl_setsid" "${fl_run:+$fl_locks/$fl_high}" \
  "$fl_lease" "$fl_at" </dev/null
exit 0
