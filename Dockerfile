# One recipe for any product folder.
#
#   docker build -t flightmesh .
#   docker run --rm -p 8815:8815 -v "$PWD/my-product:/products:ro" -v flightmesh-state:/state \
#       -v "$PWD/users.toml:/users.toml:ro" -e FLIGHTMESH_CONFIG=/users.toml \
#       -e FLIGHTMESH_ALLOW_PLAINTEXT=true flightmesh
#
# Two decisions are the operator's and are not taken here. FLIGHTMESH_ALLOW_PLAINTEXT=true permits an unencrypted
# listener beyond loopback, for instance behind a proxy that ends TLS; without it, or a certificate in the
# configuration, the server refuses to start. FLIGHTMESH_ANONYMOUS=true lets callers in without a name; without it,
# users come from the file that FLIGHTMESH_CONFIG names. To ship a product inside an image, build one on top:
#
#   FROM flightmesh
#   COPY my-product /products
FROM python:3.12-slim

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore

WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY flightmesh ./flightmesh
RUN pip install .

# Open to any user, so that `docker run --user` works; a folder mounted from the host keeps its own owner.
RUN mkdir /products && mkdir -m 1777 /state

ENV HOME=/state \
    FLIGHTMESH_HOST=0.0.0.0 \
    FLIGHTMESH_PORT=8815 \
    FLIGHTMESH_PRODUCTS=/products \
    FLIGHTMESH_STATE=/state

WORKDIR /state
VOLUME /state
USER 10001:10001
EXPOSE 8815

# Healthy means that the server answers a Flight call; asking for credentials is an answer. With TLS give a check of
# your own: docker run --health-cmd.
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-I", "-c", "import contextlib, os, pyarrow.flight as flight\nclient = flight.connect('grpc://127.0.0.1:' + os.environ['FLIGHTMESH_PORT'])\nwith contextlib.suppress(flight.FlightUnauthenticatedError):\n    list(client.list_flights(options=flight.FlightCallOptions(timeout=4)))"]

# One JSON line on standard output when ready; the log goes to standard error.
CMD ["flightmesh", "serve", "--json"]
