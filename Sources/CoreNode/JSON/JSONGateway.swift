// The API as JSON over HTTP, at etcd's paths under `/v3/` and ours under `/portcullis/v1/`: `curl -X POST http://127.0.0.1:2379/v3/kv/range -d '{"key":"Zm9v"}'`.
// A request runs through the same methods as gRPC's; only its messages are written in another form.
//
// The body is read whole before anything happens, so a stream's client says all that it has to say at once, and then
// listens.

import NIOCore
import Tokens
import Wire

struct JSONGateway: Sendable {
  let router: any RPCRouter
  let limits: WireLimits

  /// Nil for a path that is none of ours.
  func respond(to request: HTTPRequest, on eventLoop: any EventLoop) -> EventLoopFuture<HTTPReply>? {
    var path = String(request.path.prefix { $0 != "?" })
    // Where etcd 3.3 had it, and later versions still answer.
    if path.hasPrefix("/v3beta/") { path = "/v3/" + path.dropFirst("/v3beta/".count) }
    guard path.hasPrefix("/v3/") || path.hasPrefix("/portcullis/v1/") else { return nil }
    guard let method = JSONRoutes.methods[path], let rpc = router.method(for: method.path) else {
      return eventLoop.makeSucceededFuture(Self.reply(RPCStatus(.notFound, "Not Found")))
    }
    guard request.method == "POST" else {
      return eventLoop.makeSucceededFuture(HTTPReply(status: 405, text: "Method Not Allowed: calls are made by POST\n"))
    }
    do throws(RPCStatus) {
      switch rpc {
      case .unary: return try unary(rpc, method, request, on: eventLoop)
      case .streaming: return try stream(rpc, method, request, on: eventLoop)
      }
    } catch {
      return eventLoop.makeSucceededFuture(Self.reply(error))
    }
  }

  private func unary(
    _ rpc: RPCMethod, _ method: JSONMethod, _ request: HTTPRequest, on eventLoop: any EventLoop
  ) throws(RPCStatus) -> EventLoopFuture<HTTPReply> {
    let message = try method.request(request.body)
    let promise = eventLoop.makePromise(of: HTTPReply.self)
    let sink = UnarySink(method, promise)
    let call = TranslatedCall(
      method.path, metadata: Self.metadata(of: request), limits: limits, on: eventLoop, sink: sink)
    // A call that waits, for a lock say, stops waiting when its caller is gone.
    request.abandonment.handler = {
      call.cancel()
      sink.end(RPCStatus(.cancelled, "the caller is gone"))
    }
    call.start(rpc, messages: [message])
    return promise.futureResult
  }

  private func stream(
    _ rpc: RPCMethod, _ method: JSONMethod, _ request: HTTPRequest, on eventLoop: any EventLoop
  ) throws(RPCStatus) -> EventLoopFuture<HTTPReply> {
    let objects = try JSONObjects.split(request.body)
    var messages: [ByteBuffer] = []
    for object in objects { messages.append(try method.request(object)) }
    if messages.isEmpty { messages.append(try method.request(ByteBuffer())) }
    let metadata = Self.metadata(of: request)
    let reply = HTTPReply(contentType: "application/json") { [messages, limits] writer in
      let sink = StreamSink(method, writer)
      let call = TranslatedCall(method.path, metadata: metadata, limits: limits, on: eventLoop, sink: sink)
      writer.onWritable = { call.unblock() }
      writer.onDrain = { call.drain() }
      writer.onClose = { call.cancel() }
      call.start(rpc, messages: messages)
    }
    return eventLoop.makeSucceededFuture(reply)
  }

  /// Of a caller's headers those that calls look at; a token comes in `Authorization`, as with etcd's gateway.
  private static func metadata(of request: HTTPRequest) -> [(String, String)] {
    let passedOn = ["portcullis-client", "portcullis-sequence", "hasleader", "fence"]
    var metadata = passedOn.compactMap { name in request.header(name).map { (name, $0) } }
    if let token = request.header("authorization") { metadata.append(("token", token)) }
    return metadata
  }

  // MARK: Errors

  /// etcd's gateway gives the text twice, and the code of gRPC.
  static func reply(_ status: RPCStatus) -> HTTPReply {
    let text = JSONGateway.quoted(status.message)
    return HTTPReply(
      status: httpStatus(status.code), contentType: "application/json",
      body: ByteBuffer(string: #"{"error":\#(text),"code":\#(status.code.rawValue),"message":\#(text)}"#))
  }

  static func quoted(_ text: String) -> String {
    var bytes: [UInt8] = []
    JSONText.append(text, to: &bytes)
    return String(decoding: bytes, as: UTF8.self)
  }

  static func httpStatus(_ code: RPCCode) -> Int {
    switch code {
    case .ok: 200
    case .invalidArgument, .outOfRange, .failedPrecondition: 400
    case .unauthenticated: 401
    case .permissionDenied: 403
    case .notFound: 404
    case .cancelled: 408
    case .aborted, .alreadyExists: 409
    case .resourceExhausted: 429
    case .unimplemented: 501
    case .unavailable: 503
    case .deadlineExceeded: 504
    case .unknown, .internalError, .dataLoss: 500
    }
  }
}

/// The one answer of a unary call.
private final class UnarySink: TranslatedCallSink {
  private let method: JSONMethod
  private let promise: EventLoopPromise<HTTPReply>
  private var answer: HTTPReply?
  private var hasEnded = false

  init(_ method: JSONMethod, _ promise: EventLoopPromise<HTTPReply>) {
    self.method = method
    self.promise = promise
  }

  let isWritable = true

  func message(_ message: ByteBuffer, promise: EventLoopPromise<Void>?) {
    do throws(RPCStatus) {
      answer = HTTPReply(status: 200, contentType: "application/json", body: try method.answer(message))
    } catch {
      answer = JSONGateway.reply(error)
    }
    promise?.succeed()
  }

  func end(_ status: RPCStatus) {
    guard !hasEnded else { return }
    hasEnded = true
    promise.succeed(status.code == .ok ? answer ?? JSONGateway.reply(.ok) : JSONGateway.reply(status))
  }
}

/// The answers of a stream, one a line: `{"result":…}`, and in the end perhaps `{"error":…}`.
private final class StreamSink: TranslatedCallSink {
  private let method: JSONMethod
  private let writer: HTTPBodyWriter

  init(_ method: JSONMethod, _ writer: HTTPBodyWriter) {
    self.method = method
    self.writer = writer
  }

  var isWritable: Bool { writer.isWritable }

  func message(_ message: ByteBuffer, promise: EventLoopPromise<Void>?) {
    do throws(RPCStatus) {
      var line = ByteBuffer(string: #"{"result":"#)
      line.writeImmutableBuffer(try method.answer(message))
      line.writeString("}\n")
      writer.write(line, promise: promise)
    } catch {
      promise?.fail(error)
    }
  }

  func end(_ status: RPCStatus) {
    if status.code != .ok {
      let text = JSONGateway.quoted(status.message)
      let http = JSONGateway.httpStatus(status.code)
      let error = #"{"error":{"grpc_code":\#(status.code.rawValue),"http_code":\#(http),"message":\#(text)}}"#
      writer.write(ByteBuffer(string: error + "\n"))
    }
    writer.finish()
  }
}
