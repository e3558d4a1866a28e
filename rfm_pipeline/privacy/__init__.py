"""The right to be forgotten: takes one person out of everything the program keeps."""
