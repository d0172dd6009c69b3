# docker build -t dtis . && docker run -p 8888:8888 dtis, then open the address that it prints.
FROM python:3.11-slim
RUN apt-get update && apt-get install --yes --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/* && useradd --create-home dtis
USER dtis
WORKDIR /home/dtis/dtis
COPY --chown=dtis . .
RUN make setup PYTHON=python3.11
EXPOSE 8888
CMD [".venv/bin/jupyter", "lab", "--ip=0.0.0.0", "--no-browser", "notebooks/"]
