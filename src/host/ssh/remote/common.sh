# Sent before every other file of this folder, after the assignments of the fl_ variables. POSIX sh; nothing newer than
# what CentOS 7 and busybox have. Comment lines and indentation are taken away before sending.
umask 077
LC_ALL=C
export LC_ALL
# The controller draws the mark anew for each call: nothing else on the host can know it.
fl_mark=$1
# Login shells that are not logged in often lack these.
case :$PATH: in
  *:/usr/sbin:*) ;;
  *) PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin ;;
esac

# Nothing was changed, and nothing will be.
fl_no() {
  printf '%s-no %s%s-on\n' "$fl_mark" "$*" "$fl_mark" >&2
  exit 125
}

# From here to the end both outputs belong to the caller.
fl_go() {
  printf '%s-go\n' "$fl_mark"
  printf '%s-go\n' "$fl_mark" >&2
}

fl_end() {
  printf '%s-end %s\n' "$fl_mark" "$1"
  printf '%s-end %s\n' "$fl_mark" "$1" >&2
  exit 0
}

# Sets fl_uid. The kernel says it without another process.
fl_find_uid() {
  fl_uid=
  {
    while read -r fl_key fl_real fl_uid fl_rest; do
      [ "$fl_key" = Uid: ] && break
      fl_uid=
    done </proc/self/status
  } 2>/dev/null
  [ -n "$fl_uid" ] || fl_uid=$(id -u)
}

# Sets fl_place to the script's directory.
fl_find_place() {
  # shellcheck disable=SC2088 # The tilde is the controller's, not this shell's.
  case $fl_root in
    /*) ;;
    '')
      fl_find_uid
      if [ "$fl_uid" = 0 ]; then fl_root=/var/lib/fleetlift; else fl_root=$HOME/.fleetlift; fi
      ;;
    '~/'*) fl_root=$HOME/${fl_root#??} ;;
    *) fl_root=$HOME/$fl_root ;;
  esac
  fl_place=$fl_root/$fl_dir
}

# For programs that look after a script that was begun before.
fl_nap() {
  sleep 0.1 2>/dev/null || sleep 1
}

# Whether the script has not begun. Then its name is taken, so that a launcher that is still on its way cannot begin it.
fl_never() {
  if [ ! -e "$fl_place/script" ]; then
    # Its folder may be gone: nobody can know here any more what became of it.
    [ ! -e "${fl_place%/*}/ended" ] || fl_no "the run has ended with this host"
    mkdir -p -- "$fl_place" 2>/dev/null || return 1
    # Half a word is no word: a disk that is full must not give the name to an empty file.
    if echo '#never' >"$fl_place/never.$$"; then
      ln -- "$fl_place/never.$$" "$fl_place/script"
    fi 2>/dev/null
    rm -f -- "$fl_place/never.$$"
  fi
  # Whoever had the name first has written what it stands for: also another one that looks.
  fl_line=
  { read -r fl_line <"$fl_place/script"; } 2>/dev/null || :
  [ "$fl_line" = '#never' ]
}

# Sets fl_pid to the script's process, to `none` where that has ended, and to nothing where it never said.
fl_find_pid() {
  fl_pid=
  fl_polls=0
  while [ -z "$fl_pid" ] && [ "$fl_polls" -lt 50 ]; do
    { read -r fl_pid fl_born <"$fl_place/pid"; } 2>/dev/null || fl_nap
    fl_polls=$((fl_polls + 1))
  done
  [ -n "$fl_pid" ] || return 0
  { read -r fl_line <"/proc/$fl_pid/stat"; } 2>/dev/null || fl_line=
  # shellcheck disable=SC2086 # The fields are numbers.
  set -- ${fl_line##*) }
  # A number that was given to another process since is not ours.
  if [ -n "$fl_born" ] && [ -n "$fl_line" ] && [ "${20}" != "$fl_born" ]; then
    fl_pid=none
  fi
}
