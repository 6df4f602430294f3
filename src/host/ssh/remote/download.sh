# Sends a file, and its checksum on standard error.
case $fl_path in
  /*) ;;
  *) fl_path=./$fl_path ;;
esac
[ -e "$fl_path" ] || fl_no "$fl_path does not exist"
[ -f "$fl_path" ] || fl_no "$fl_path is not a regular file"
[ -r "$fl_path" ] || fl_no "$fl_path is not readable"
fl_go
cat <"$fl_path" 2>/dev/null
fl_code=$?
if command -v sha256sum >/dev/null 2>&1; then
  printf 'sha256 %s\n' "$(sha256sum <"$fl_path" 2>/dev/null)" >&2
else
  printf 'cksum %s\n' "$(cksum <"$fl_path" 2>/dev/null)" >&2
fi
fl_end "$fl_code"
