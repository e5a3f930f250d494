# A bridge from the wire suite to Flight as R's users have it: through reticulate and pyarrow.flight, which is what the
# functions of R's arrow package call. With the argument "arrow" that package's own functions are used, and its tables
# become data frames; without, the same calls are made here, and reticulate turns the values into R's.
#
# One JSON request per line of the standard input, one JSON answer per line of the standard output, with the id of the
# request and answer, refused (an error of pyarrow's) or broken (an error of this file's).

suppressPackageStartupMessages({
  library(jsonlite)
  library(reticulate)
})
Sys.setenv(TZ = "UTC")
with_arrow <- "arrow" %in% commandArgs(trailingOnly = TRUE)
if (with_arrow) suppressPackageStartupMessages(library(arrow))
flight <- import("pyarrow.flight")
pyarrow <- import("pyarrow", convert = FALSE)

# The headers of every call: an option's or a token's, and the authorization and cookie that the server answers with.
py_run_string("
import pyarrow.flight


class Kept(pyarrow.flight.ClientMiddlewareFactory):
    def __init__(self, headers):
        super().__init__()
        self.headers = dict(headers)

    def start_call(self, info):
        return OneCall(self.headers)


class OneCall(pyarrow.flight.ClientMiddleware):
    def __init__(self, headers):
        super().__init__()
        self.headers = headers

    def sending_headers(self):
        return dict(self.headers)

    def received_headers(self, headers):
        for name, given in headers.items():
            if name.lower() == 'authorization':
                self.headers['authorization'] = given[-1]
            elif name.lower() == 'set-cookie':
                self.headers['cookie'] = given[-1].partition(';')[0]
")

# ------------------------------------------------------------------------------------------------- Flight's functions

if (!with_arrow) {
  flight_connect <- function(host, port, scheme) {
    flight$FlightClient(paste0(scheme, "://", host, ":", port))
  }

  flight_get <- function(client, path) {
    read(client, flight$FlightDescriptor$for_path(path))
  }

  list_flights <- function(client) {
    iterate(client$list_flights(), function(x) as.character(x$descriptor$path[[1]]))
  }

  flight_path_exists <- function(client, path) {
    tryCatch(
      {
        client$get_flight_info(flight$FlightDescriptor$for_path(path))
        TRUE
      },
      error = function(e) if (grepl("ArrowKeyError", conditionMessage(e))) FALSE else stop(e)
    )
  }

  flight_put <- function(client, data, path, overwrite) {
    if (!overwrite && flight_path_exists(client, path)) stop(path, " exists.", call. = FALSE)
    writer <- client$do_put(flight$FlightDescriptor$for_path(path), data$schema)[[1]]
    writer$write_table(data)
    writer$close()
  }
}

# Like the package's functions, which take the one ticket of a flight for granted.
stream <- function(client, descriptor) {
  client$do_get(client$get_flight_info(descriptor)$endpoints[[1]]$ticket)
}

read <- function(client, descriptor) stream(client, descriptor)$read_all()

# A field of bytes in the encoding of protocol buffers; the numbers of these fields are below 16.
packed <- function(number, bytes) {
  count <- length(bytes)
  size <- raw()
  while (count > 127) {
    size <- c(size, as.raw(count %% 128 + 128))
    count <- count %/% 128
  }
  c(as.raw(number * 8 + 2), size, as.raw(count), bytes)
}

statement <- function(sql) {
  name <- "type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery"
  query <- packed(1, charToRaw(enc2utf8(sql)))
  command <- c(packed(1, charToRaw(name)), packed(2, query))
  flight$FlightDescriptor$for_command(import_builtins(convert = FALSE)$bytes(r_to_py(command)))
}

# --------------------------------------------------------------------------------------------------------------- values

quoted <- function(texts) {
  texts <- enc2utf8(texts)
  told <- paste0('"', texts, '"')
  special <- grepl('["\\\\[:cntrl:]]', texts)
  told[special] <- vapply(texts[special], function(text) as.character(toJSON(unbox(text))), "")
  told
}

toldNumbers <- function(x) {
  ifelse(is.nan(x), '"nan"', ifelse(is.infinite(x), ifelse(x > 0, '"inf"', '"-inf"'), sprintf("%.17g", x)))
}

toldMoments <- function(x) {
  micros <- round((as.numeric(x) %% 1) * 1e6)
  seconds <- floor(as.numeric(x)) + micros %/% 1e6
  fraction <- sub("0+$", "", sprintf("%06d", as.integer(micros %% 1e6)))
  text <- format(as.POSIXct(seconds, origin = "1970-01-01", tz = "UTC"), "%Y-%m-%dT%H:%M:%S")
  zone <- if (identical(attr(x, "tzone"), "UTC")) "Z" else ""
  quoted(paste0(text, ifelse(fraction == "", "", paste0(".", fraction)), zone))
}

toldSpans <- function(x) {
  micros <- round(as.numeric(x, units = "secs") * 1e6)
  clock <- format(as.POSIXct(micros %/% 1e6, origin = "1970-01-01", tz = "UTC"), "%H:%M:%S")
  fraction <- sub("0+$", "", sprintf("%06d", as.integer(micros %% 1e6)))
  quoted(paste0(clock, ifelse(fraction == "", "", paste0(".", fraction))))
}

hexadecimal <- function(bytes) quoted(paste0("hex:", paste(as.character(bytes), collapse = "")))

object <- function(names, values) paste0("{", paste0(quoted(names), ":", values, collapse = ","), "}")

array <- function(values) paste0("[", paste(values, collapse = ","), "]")

# JSON of a data frame's rows, each an object: how R shows structs. The two columns of a map become one object.
toldRows <- function(x) {
  columns <- lapply(x, toldAll)
  vapply(seq_len(nrow(x)), function(row) object(names(x), vapply(columns, `[`, "", row)), "")
}

# JSON of an element of a list column.
toldElement <- function(x) {
  if (is.null(x)) return("null")
  if (is.raw(x)) return(hexadecimal(x))
  if (is.data.frame(x) && identical(names(x), c("key", "value"))) {
    return(if (nrow(x)) object(as.character(x$key), toldAll(x$value)) else "{}")
  }
  array(toldAll(x))
}

# JSON of each element of a vector or of each row of a data frame.
toldAll <- function(x) {
  if (is.data.frame(x)) return(toldRows(x))
  if (is.list(x)) return(vapply(x, toldElement, ""))
  told <- if (is.logical(x)) tolower(as.character(x))
  else if (inherits(x, "integer64")) as.character(x)
  else if (is.factor(x)) quoted(as.character(x))
  else if (is.character(x)) quoted(x)
  else if (inherits(x, "Date")) quoted(format(x))
  else if (inherits(x, "POSIXct")) toldMoments(x)
  else if (inherits(x, "difftime")) toldSpans(x)
  else if (is.integer(x)) as.character(x)
  else if (is.numeric(x)) toldNumbers(x)
  else quoted(format(x))
  ifelse(is.na(x) & !(is.double(x) & is.nan(x)), "null", told)
}

# JSON of one value as reticulate gives it. What it leaves a Python object is told in Python's words.
toldOne <- function(x) {
  if (is.null(x)) return("null")
  if (inherits(x, "python.builtin.bytes")) return(hexadecimal(as.raw(as.integer(import_builtins()$list(x)))))
  if (inherits(x, "datetime.time")) return(quoted(sub("(\\.[0-9]*[1-9])0+$", "\\1", x$isoformat())))
  if (inherits(x, "python.builtin.MonthDayNano")) {
    # By its text: reticulate cuts whole numbers down to 32 bits.
    text <- as.character(py_str(x))
    return(object(c("months", "days", "nanoseconds"), regmatches(text, gregexpr("-?[0-9]+", text))[[1]]))
  }
  if (inherits(x, "python.builtin.object")) return(quoted(as.character(py_str(x))))
  if (is.raw(x)) return(hexadecimal(x))
  if (is.list(x) && !is.null(names(x))) return(if (length(x)) object(names(x), vapply(x, toldOne, "")) else "{}")
  if (is.list(x)) return(array(vapply(x, toldOne, "")))
  if (length(x) == 1) toldAll(x) else array(toldAll(x))
}

classOf <- function(x) paste(class(x), collapse = "/")

# The value of an Arrow scalar as reticulate gives it. A list of one is a list still, which reticulate makes a plain
# value of; and a number that it cannot convert, after which it would be in disorder, stays Arrow's.
valueOf <- function(scalar) {
  if (inherits(scalar, "pyarrow.lib.UInt64Scalar") && isTRUE(as.numeric(py_str(scalar)) >= 2^63)) return(scalar)
  value <- scalar$as_py()
  if (inherits(scalar, "pyarrow.lib.ListScalar") && !is.null(value)) as.list(value) else value
}

# The values of an Arrow column, in a list: at once where that is the same.
valuesOf <- function(column) {
  if (!grepl("list|uint64", py_str(column$type))) return(as.list(column$to_pylist()))
  iterate(column, valueOf, simplify = FALSE)
}

toldValues <- function(values) {
  absent <- vapply(values, is.null, NA)
  present <- values[!absent]
  told <- rep("null", length(values))
  if (length(unique(lapply(present, class))) == 1 && all(lengths(present) == 1) && is.atomic(present[[1]])) {
    told[!absent] <- toldAll(do.call(c, present))
  } else {
    told[!absent] <- vapply(present, toldOne, "")
  }
  told
}

# R's class of a column, and its values as JSON.
columnOf <- function(table, number) {
  if (!with_arrow) {
    values <- valuesOf(table$column(number - 1L))
    return(list(class = classOf(Find(Negate(is.null), values)), told = toldValues(values)))
  }
  tryCatch(
    {
      column <- as.data.frame(table$SelectColumns(number - 1L))[[1]]
      list(class = classOf(column), told = toldAll(column))
    },
    # What the package has no type for is told in its own words.
    error = function(e) list(class = "none", told = rep(quoted(conditionMessage(e)), table$num_rows))
  )
}

answerOf <- function(table) {
  names <- if (with_arrow) names(table) else unlist(table$column_names)
  columns <- lapply(seq_along(names), function(number) columnOf(table, number))
  classes <- vapply(columns, `[[`, "", "class")
  values <- vapply(columns, function(column) array(column$told), "")
  paste0('{"columns":', array(quoted(names)), ',"types":', array(quoted(classes)), ',"values":', array(values), "}")
}

# ----------------------------------------------------------------------------------------------------------- requests

clients <- new.env()

operations <- list(
  open = function(asked) {
    client <- if (length(asked$headers) || !is.null(asked$user)) {
      location <- paste0(asked$scheme, "://", asked$host, ":", asked$port)
      flight$FlightClient(location, middleware = list(py$Kept(dict(asked$headers))))
    } else {
      flight_connect(asked$host, asked$port, asked$scheme)
    }
    if (!is.null(asked$user)) client$authenticate_basic_token(asked$user, asked$password)
    number <- length(ls(clients)) + 1
    assign(as.character(number), client, clients)
    as.character(number)
  },
  close = function(asked, client) {
    client$close()
    "null"
  },
  query = function(asked, client) answerOf(read(client, statement(asked$sql))),
  count = function(asked, client) {
    counts <- iterate(stream(client, statement(asked$sql)), function(chunk) as.numeric(chunk$data$num_rows))
    as.character(sum(unlist(counts)))
  },
  columns = function(asked, client) array(quoted(client$get_schema(statement(asked$sql))$schema$names)),
  list = function(asked, client) array(quoted(list_flights(client))),
  exists = function(asked, client) tolower(flight_path_exists(client, asked$path)),
  get = function(asked, client) answerOf(flight_get(client, asked$path)),
  put = function(asked, client) {
    bytes <- base64_dec(asked$data)
    data <- if (with_arrow) {
      read_ipc_stream(bytes, as_data_frame = FALSE)
    } else {
      py_to_r(pyarrow$ipc$open_stream(bytes)$read_all())
    }
    flight_put(client, data, asked$path, overwrite = asked$overwrite)
    "null"
  }
)

carryOut <- function(asked) {
  operation <- operations[[asked$op]]
  if (asked$op == "open") operation(asked) else operation(asked, get(as.character(asked$connection), clients))
}

reply <- function(line) {
  asked <- fromJSON(line, simplifyVector = FALSE)
  tryCatch(
    paste0('{"id":', asked$id, ',"answer":', carryOut(asked), "}"),
    error = function(e) {
      text <- conditionMessage(e)
      kind <- if (grepl("Arrow[A-Z][a-zA-Z]+: |Flight[A-Z][a-zA-Z]+Error: | exists\\.$", text)) "refused" else "broken"
      paste0('{"id":', asked$id, ',"', kind, '":', quoted(text), "}")
    }
  )
}

requests <- file("stdin", encoding = "UTF-8")
open(requests)
while (length(line <- readLines(requests, n = 1, warn = FALSE)) > 0) {
  cat(reply(line), "\n", sep = "")
  flush(stdout())
}
