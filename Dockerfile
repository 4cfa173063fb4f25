# One image for every part; docker-compose.yml says which part a container is.
FROM node:22-slim AS tools
WORKDIR /volens
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --no-audit --no-fund

FROM python:3.11-slim
WORKDIR /volens
COPY --from=tools /volens/node_modules node_modules
COPY pyproject.toml wheel.py README.md LICENSE ./
COPY contracts contracts
COPY chain chain
COPY governance governance
COPY analytics analytics
COPY api api
COPY volens volens
ARG EXTRAS=postgres
RUN pip install --no-cache-dir --editable ".[${EXTRAS}]"
# Which account a container has is said where it is started; it owns nothing in the image.
USER 1000:1000
