# Renews the lock, for a host that nothing is asked of for long.
fl_find_place
fl_hold
fl_go
fl_end 0
