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

# Sets fl_place to the script's directory.
fl_find_place() {
  # shellcheck disable=SC2088 # The tilde is the controller's, not this shell's.
  case $fl_root in
    /*) ;;
    '') if [ "$(id -u)" = 0 ]; then fl_root=/var/lib/fleetlift; else fl_root=$HOME/.fleetlift; fi ;;
    '~/'*) fl_root=$HOME/${fl_root#??} ;;
    *) fl_root=$HOME/$fl_root ;;
  esac
  fl_place=$fl_root/$fl_dir
}
