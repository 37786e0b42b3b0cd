"""What the kernel, its control groups and the file systems say of machine and processes."""
