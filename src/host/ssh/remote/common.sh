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

# Sets fl_boot to the boot id, where there is one.
fl_find_boot() {
  fl_boot=
  { read -r fl_boot </proc/sys/kernel/random/boot_id; } 2>/dev/null || :
}

# A script needs two names to begin, `script` and `began`, each of which is made once. Takes one of them where nobody has it,
# so that the script cannot begin any more; fl_said is why not. $1: its directory, $2: the name.
fl_deny() {
  fl_word=$1/never.$$
  # It may be the second name of another, after a power cut.
  [ ! -e "$fl_word" ] || rm -f -- "$fl_word" 2>/dev/null
  # Half a word is no word: a disk that is full must not give the name to an empty file.
  fl_said=$({ echo '#never' >"$fl_word" && ln -- "$fl_word" "$1/$2"; } 2>&1)
  rm -f -- "$fl_word" 2>/dev/null
}

# Whether the name is one that was taken so that the script cannot begin. $1: its directory, $2: the name.
fl_is_denied() {
  fl_line=
  { read -r fl_line <"$1/$2"; } 2>/dev/null || :
  [ "$fl_line" = '#never' ]
}

fl_say_open() {
  fl_fate="open it has not begun, and the host cannot promise that it never will: ${fl_said:-its name came and went}"
}

# The second name was taken so that the script cannot begin. Without boot ids nobody knows whether a power cut had taken it
# from a script that had begun.
fl_say_never() {
  fl_fate=never
  [ -n "$fl_boot" ] || fl_fate="lost the host has no boot id: nobody knows whether it began before a power cut"
}

# Sets fl_fate to what became of the script: `never`, where it has not begun, and cannot any more, since its name is taken;
# `open <why>`, where it has not, and its name cannot be taken; `lost <why>`, where nobody can know; else `taken`.
fl_find_fate() {
  fl_said=
  if [ ! -e "$fl_place/script" ]; then
    # Its folder may be gone: nobody can know here any more what became of it.
    [ ! -e "${fl_place%/*}/ended" ] || fl_no "the run has ended with this host"
    fl_said=$(mkdir -p -- "$fl_place" 2>&1) && fl_deny "$fl_place" script
  fi
  # Whoever had the name first has written what it stands for: also another one that looks.
  if [ ! -e "$fl_place/script" ]; then
    fl_say_open
  elif fl_is_denied "$fl_place" script; then
    fl_fate=never
  elif fl_is_denied "$fl_place" began; then
    fl_find_boot
    fl_say_never
  else
    fl_fate=taken
  fi
}

# Whether the process of the number $1 lives that was born at $2, where that is known; a zombie does not. Says 2 where the
# number was given to another since.
fl_is_process() {
  if [ ! -r /proc/self/stat ]; then
    kill -0 "$1" 2>/dev/null
    return
  fi
  fl_line=
  { read -r fl_line <"/proc/$1/stat"; } 2>/dev/null || :
  [ -n "$fl_line" ] || return 1
  # shellcheck disable=SC2086 # The fields are numbers.
  set -- "$2" ${fl_line##*) }
  if [ -n "$1" ] && [ "${21}" != "$1" ]; then
    return 2
  fi
  [ "$2" != Z ]
}

# Sets fl_pid to the number of the script's process, to `none` where that is another's by now, or from another boot, and
# fl_alive. A script that has its name, and does not begin for long, is kept from it: then fl_pid is empty, and fl_fate says
# what became of it.
fl_find_pid() {
  fl_pid=none
  fl_born=
  fl_alive=no
  fl_then=
  fl_find_boot
  { read -r fl_then <"$fl_place/boot"; } 2>/dev/null || :
  [ "$fl_boot" = "$fl_then" ] || return 0
  fl_polls=0
  while [ ! -e "$fl_place/began" ]; do
    if [ "$fl_polls" -ge 50 ]; then
      fl_deny "$fl_place" began
      break
    fi
    fl_nap
    fl_polls=$((fl_polls + 1))
  done
  if [ ! -e "$fl_place/began" ]; then
    fl_pid=
    fl_say_open
    return 0
  fi
  if fl_is_denied "$fl_place" began; then
    fl_pid=
    fl_say_never
    return 0
  fi
  # It has written its number before it took the name.
  { read -r fl_pid fl_born <"$fl_place/pid"; } 2>/dev/null || :
  : "${fl_pid:=none}"
  fl_is_process "$fl_pid" "$fl_born"
  case $? in
    0) fl_alive=yes ;;
    2) fl_pid=none ;;
  esac
}
