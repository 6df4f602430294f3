# Refuses on another machine than the one that is meant.
if [ -n "$fl_machine" ]; then
  fl_seen=
  if [ -r /etc/machine-id ]; then
    read -r fl_seen </etc/machine-id || :
  fi
  if [ "$fl_seen" != "$fl_machine" ]; then
    fl_no "another machine: /etc/machine-id is ${fl_seen:-absent}, expected $fl_machine"
  fi
fi
