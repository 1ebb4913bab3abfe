"""What a scan found: the record, its statistics, doubts about it and the gate."""
