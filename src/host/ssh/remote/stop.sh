# Ends the script's processes and looks whether they are gone. Says `gone`, `alive <pids>`, `never`, `open <why>`, or `over`
# where it had ended by itself.
fl_find_place
fl_find_fate
fl_go
if [ "$fl_fate" != taken ]; then
  echo "$fl_fate"
  fl_end 0
fi
if [ -s "$fl_place/exit" ] && [ ! -e "$fl_place/stopped" ]; then
  echo over
  fl_end 0
fi
# From here on its exit code is no word of its own: a script that is told to end may well end with 0.
{ printf '' >"$fl_place/stopped"; } 2>/dev/null
# Whoever follows a script of an earlier controller does not know its token; the script's own file does.
if [ -z "$fl_token" ]; then
  fl_token=$(sed -n 's/^FLEETLIFT_TOKEN=//p' "$fl_place/script" 2>/dev/null | head -n 1)
fi

if [ ! -r /proc/self/stat ]; then
  echo alive, or not: without /proc nothing can be proven
  { read -r fl_pid fl_born <"$fl_place/pid"; } 2>/dev/null && kill -s KILL -- "-$fl_pid" 2>/dev/null
  fl_end 0
fi
fl_find_pid
if [ -z "$fl_pid" ]; then
  echo "$fl_fate"
  fl_end 0
fi
# Asked once, then forced, as often as new ones are born.
if ! { fl_end_all TERM 1 || fl_end_all KILL 50; }; then
  echo "alive:$fl_found"
elif [ -z "$fl_token" ] && [ "$fl_pid" != none ]; then
  # A disk that lost power may have lost what was in the file.
  echo "alive, or not: what left its session cannot be found, since its script has no token any more"
else
  echo gone
fi
fl_end 0
