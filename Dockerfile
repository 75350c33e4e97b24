FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN make build

FROM gcr.io/distroless/static-debian12
COPY --from=build /src/bin/afina /afina
VOLUME ["/models", "/data"]
EXPOSE 8080
ENTRYPOINT ["/afina"]
CMD ["serve", "--listen", "0.0.0.0:8080", "--models", "/models", "--data", "/data"]
