"""What runs when: jobs, schedules, sensors, the week plan, and the runner behind ``rfm run``."""
