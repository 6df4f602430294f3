# Puts a question: nothing is written on the host, and nothing of it is left when it ends or its time is over. Where `/proc`
# cannot be read, what it leaves running is not found.
# A text that came behind this program. A connection that breaks in the middle of it ends it early.
if [ -n "$fl_size" ]; then
  fl_script=$(cat)
  [ "${#fl_script}" = "$fl_size" ] || fl_no "the question did not arrive whole"
fi
fl_newline='
'
fl_setsid=setsid
command -v setsid >/dev/null 2>&1 || fl_setsid=
fl_go
# The host itself keeps the limit: it holds also where the connection is gone.
sleep "$fl_limit" >/dev/null 2>&1 &
fl_dog=$!
# Reads the number of the script's session, what the shell around it said, and its exit code. Ends what it has left behind,
# then the process that keeps the limit: by another signal where the script was ended by one, which no exit code says, and
# every sh does.
fl_weigh() {
  fl_said=$(cat)
  fl_pid=${fl_said%%"$fl_newline"*}
  fl_code=${fl_said##*"$fl_newline"}
  fl_word=TERM
  if [ "$fl_code" -gt 128 ] && [ "$fl_said" != "$fl_pid$fl_newline$fl_code" ]; then
    fl_word=USR1
  fi
  # Where its time is over it is ended by whoever knows that.
  kill -0 "$fl_dog" 2>/dev/null || exit "$fl_code"
  fl_list
  [ -z "$fl_found" ] || fl_end_all TERM 1 || fl_end_all KILL 50
  kill -s "$fl_word" "$fl_dog" 2>/dev/null
  exit "$fl_code"
}

# The text comes by a pipe: a command line can be read by everybody, and a file would have to be removed. The session is
# its own, so that all its processes can be found; its number comes first of what the shell around it keeps to itself.
# shellcheck disable=SC2016 # That shell expands it, and not this one.
{
  printf '%s\n' "$fl_script" | {
    # A bash that is called sh says nothing of signals.
    # shellcheck disable=SC3040 # Only a bash comes to it.
    [ -z "$BASH_VERSION" ] || set +o posix
    FLEETLIFT_TOKEN=$fl_token $fl_setsid /bin/sh -c \
      'echo "$$"; exec >&4 2>&5 4>&- 5>&-; fl_text=$(cat); exec </dev/null; eval "unset fl_text; $fl_text"' fleetlift
    echo "$?"
  } 2>&1 | fl_weigh
} 4>&1 5>&2 &
fl_asker=$!
wait "$fl_dog" 2>/dev/null
fl_word=$?
if [ "$fl_word" != 0 ]; then
  wait "$fl_asker" 2>/dev/null
  fl_how=$?
  # TERM is 15 everywhere.
  [ "$fl_word" = 143 ] || fl_how=$(kill -l "$fl_how")
  fl_end "$fl_how"
fi

# Sets fl_session to the session of the process $1.
fl_find_session() {
  fl_line=
  { read -r fl_line <"/proc/$1/stat"; } 2>/dev/null || :
  # shellcheck disable=SC2086 # The fields are numbers.
  set -- ${fl_line##*) }
  fl_session=$4
}

fl_pid=
fl_list
fl_find_session "$$"
fl_own=$fl_session
# All that it started is in its session, also what has lost its token. What has not come as far as to have its own session is
# still in ours, where others are as well.
for fl_one in ${fl_setsid:+$fl_found}; do
  fl_find_session "$fl_one"
  if [ -n "$fl_session" ] && [ "$fl_session" != "$fl_own" ]; then
    fl_pid=$fl_session
    break
  fi
done
if [ ! -r /proc/self/stat ]; then
  kill -s KILL "$fl_asker" 2>/dev/null
  fl_end alive
fi
if [ -z "$fl_found" ]; then
  # It ended by itself in the last moment.
  wait "$fl_asker" 2>/dev/null
  fl_end "$?"
fi
if fl_end_all TERM 1 || fl_end_all KILL 50; then
  fl_end gone
fi
fl_end alive
