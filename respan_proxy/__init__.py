"""respan_proxy: one base URL in front of every model provider, and every call remembered.

Bytes pass straight through; meaning is read from a copy. A pure core turns bytes into frames and frames into events,
a chain of small async handlers decides, a thin aiohttp shell moves the bytes, and one writer remembers.

A call's way through the house:

    server/gateway     an aiohttp request becomes an `Exchange` (exchange.py), matched in one table (respan/endpoints)
    handlers/*         one behaviour per file; their order is the list in app.py, which is the architecture
    upstream | echo    the last link: a provider over the network, or the built-in one, gives a `Reply`
    server/gateway     pumps the reply's bytes to the caller; then the exchange is complete
    store/writer       takes its row, a few milliseconds later, in one transaction with its neighbours

Floors: a module imports only from floors below its own, and packages of one floor do not import each other.

     9  cli                         serve, check, init, explain, logs ...           one file per command
     8  app                         the composition root; read it next
     7  server                      aiohttp.web: gateway, rest/, health             I/O
     6  upstream  images  tokens    to providers, to images by URL, to commands     I/O
        echo  store                 a built-in provider, a file                     I/O
        handlers                    one behaviour per file; no sockets, no SQL
        exports                     to collectors of OpenTelemetry                  I/O
     5  policy                      decides: routing, credentials                   pure
        telemetry                   what apps tell of themselves: spans, logs       pure
        pool                        connections to providers, kept between calls    I/O
     4  exchange                    the values that handlers share, and the chain
        loading  reporting          where options come from; the lines on stderr    I/O
     3  respan  config              the Respan contract; the options                pure
     2  dialects                    frames <-> meaning, four dialects               pure
     1  wire                        bytes <-> frames, headers, JSON edits           pure
     0  errors  frozen              the taxonomy of failures; values
"""

__version__ = "0.1.0"
