"""The account at a broker: orders, requests and questions in, answers and the order stream out."""
