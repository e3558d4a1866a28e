"""What people read of the review: the owner's weekly page, the playbook, their charts."""
