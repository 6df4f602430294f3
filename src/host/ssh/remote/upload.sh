# Receives a file: beside its place, checked, then renamed.
case $fl_path in
  /*) ;;
  *) fl_path=./$fl_path ;;
esac
if [ -n "$fl_run" ]; then
  fl_find_place
  fl_hold
fi
[ -d "$fl_path" ] && fl_no "$fl_path is a directory"
fl_new=$fl_path.fleetlift-$$
fl_drop() {
  rm -f -- "$fl_new"
  fl_no "$1"
}
if ! fl_said=$({ cat >"$fl_new"; } 2>&1); then
  fl_drop "cannot write $fl_new: $fl_said"
fi
if [ "$(($(wc -c <"$fl_new")))" != "$fl_size" ]; then
  fl_drop "$fl_path did not arrive whole"
fi
if command -v sha256sum >/dev/null 2>&1; then
  fl_sum=$(sha256sum <"$fl_new")
  fl_want=$fl_sha256
else
  fl_sum=$(cksum <"$fl_new")
  fl_want=$fl_cksum
fi
[ "${fl_sum%% *}" = "$fl_want" ] || fl_drop "$fl_path arrived with another checksum"
fl_still_held || fl_drop "the lock of this host was taken by another controller a moment ago"
fl_said=$(chmod "$fl_mode" "$fl_new" 2>&1) || fl_drop "cannot set the mode of $fl_new: $fl_said"
fl_said=$(mv -f -- "$fl_new" "$fl_path" 2>&1) || fl_drop "cannot rename $fl_new to $fl_path: $fl_said"
fl_go
fl_end 0
