"""The account at a broker: orders and questions in, answers and the order stream out."""
