"""What a scan found: the record, its statistics, the gate and the formats."""
