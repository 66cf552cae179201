"""What every room uses: values, settings, and the ports of the outside world."""
