"""What every Faust worker is made of."""
