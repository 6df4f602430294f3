# What became of the script: `never`, `open <why>`, `running`, `finished <code or signal>`, `stopped`, or `lost <why>`.
fl_find_place
# What was at work when the run ended with this host was left where it is.
if [ -e "${fl_place%/*}/ended" ] && [ ! -e "$fl_place/script" ]; then
  fl_go
  echo lost the run has ended with this host, and removed what it left there
  fl_end 0
fi
fl_find_fate
fl_go
if [ "$fl_fate" != taken ]; then
  echo "$fl_fate"
  fl_end 0
fi
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

# What records its end needs a moment after it.
fl_rounds=0
while [ "$fl_rounds" -lt 20 ]; do
  fl_tell_finished
  fl_find_pid
  if [ -z "$fl_pid" ]; then
    echo "$fl_fate"
    fl_end 0
  fi
  if [ "$fl_alive" = yes ]; then
    echo running
    fl_end 0
  fi
  if [ "$fl_boot" != "$fl_then" ]; then
    fl_tell_finished
    echo lost the host was started anew since
    fl_end 0
  fi
  fl_nap
  fl_rounds=$((fl_rounds + 1))
done
fl_tell_finished
echo lost its process is gone, and it left no result
fl_end 0
