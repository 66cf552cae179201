# The programs of LiuAlgoTrader, with the versions that the tests passed with. PostgreSQL is a container of its own: compose.yaml.
FROM python:3.11-slim-bookworm

WORKDIR /source
COPY constraints.txt pyproject.toml setup.cfg README.md LICENSE ./
COPY liualgotrader liualgotrader
RUN pip install --no-cache-dir -c constraints.txt '.[report,ui]' \
    && useradd --create-home trader \
    && install -d -o trader -m 700 /data

USER trader
WORKDIR /trading
ENV LIU_HOME=/data PYTHONUNBUFFERED=1
CMD ["trader"]
