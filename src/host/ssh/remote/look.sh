# What became of the script: `never`, `running`, `finished <code or signal>`, `stopped`, or `lost <why>`.
fl_find_place
# What was at work when the run ended with this host was left where it is.
if [ -e "${fl_place%/*}/ended" ] && [ ! -e "$fl_place/script" ]; then
  fl_go
  echo lost the run has ended with this host, and removed what it left there
  fl_end 0
fi
if fl_never; then
  fl_go
  echo never
  fl_end 0
fi
fl_go
fl_keep

fl_tell_finished() {
  { read -r fl_line <"$fl_place/exit"; } 2>/dev/null || return 0
  if [ -e "$fl_place/stopped" ]; then
    echo stopped
    fl_end 0
  fi
  echo "finished $fl_line"
  fl_end 0
}

fl_tell_finished
fl_boot=
fl_then=
{ read -r fl_boot </proc/sys/kernel/random/boot_id; } 2>/dev/null || :
{ read -r fl_then <"$fl_place/boot"; } 2>/dev/null || :
if [ "$fl_boot" != "$fl_then" ]; then
  echo lost the host was started anew since
  fl_end 0
fi
fl_find_pid
if [ -z "$fl_pid" ]; then
  fl_tell_finished
  echo lost it was begun, and has not said its process id
  fl_end 0
fi
if [ ! -r /proc/self/stat ] && kill -0 "$fl_pid" 2>/dev/null; then
  echo running
  fl_end 0
fi
# What records its end needs a moment after it.
fl_polls=0
while [ "$fl_polls" -lt 20 ]; do
  fl_line=
  { read -r fl_line <"/proc/$fl_pid/stat"; } 2>/dev/null || :
  # shellcheck disable=SC2086 # The fields are numbers.
  set -- ${fl_line##*) }
  if [ -n "$fl_line" ] && [ "$1" != Z ]; then
    echo running
    fl_end 0
  fi
  fl_tell_finished
  fl_nap
  fl_polls=$((fl_polls + 1))
done
echo lost its process is gone, and it left no result
fl_end 0
