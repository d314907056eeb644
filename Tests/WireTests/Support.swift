// What the tests of this room share: a server with a few methods, and ways to watch a call.

import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Protocol
import SwiftProtobuf
import Testing
import Wire

let testGroup = MultiThreadedEventLoopGroup.singleton

/// Paths of the methods that `TestRoutes` has.
enum TestPath {
  static let echo = "/test.Test/Echo"
  static let fail = "/test.Test/Fail"
  static let metadata = "/test.Test/Metadata"
  static let silent = "/test.Test/Silent"
  static let echoStream = "/test.Test/EchoStream"
  static let flood = "/test.Test/Flood"
  static let caller = "/test.Test/Caller"
}

/// A stream of things that happened, for a test to wait on.
struct Signal<Element: Sendable>: Sendable {
  private let stream: AsyncStream<Element>
  private let continuation: AsyncStream<Element>.Continuation

  init() {
    (self.stream, self.continuation) = AsyncStream.makeStream()
  }

  func send(_ element: Element) {
    self.continuation.yield(element)
  }

  func next() async throws -> Element {
    var iterator = self.stream.makeAsyncIterator()
    return try #require(await iterator.next())
  }
}

/// What the handlers at the server saw.
struct ServerEvents: Sendable {
  enum Event: Sendable, Equatable {
    case opened
    case cancelled
    case halfClosed
    case blocked
    case writable
    case closed
  }

  let events = Signal<Event>()
  /// Calls of `silent`, for a test to answer, and how many have come.
  let silentCalls = Signal<UnaryCall>()
  let silentCallCount = NIOLockedValueBox(0)

  func routes() -> RPCRoutes {
    RPCRoutes([
      TestPath.echo: .unary { call, message in call.respond(encoded: message) },
      TestPath.fail: .unary { call, message in
        call.fail(RPCStatus(.outOfRange, String(buffer: message)))
      },
      TestPath.metadata: .unary { call, _ in
        call.respond(encoded: ByteBuffer(string: "\(call.metadata("token") ?? "-") \(call.deadline != nil)"))
      },
      TestPath.caller: .unary { call, _ in
        call.respond(encoded: ByteBuffer(string: call.peerCommonName ?? "nobody"))
      },
      TestPath.silent: .unary { call, _ in
        call.onCancel = { self.events.send(.cancelled) }
        self.silentCallCount.withLockedValue { $0 += 1 }
        self.silentCalls.send(call)
      },
      TestPath.echoStream: .streaming { call in EchoHandler(call: call, events: self.events) },
      TestPath.flood: .streaming { call in FloodHandler(call: call, events: self.events) },
    ])
  }
}

/// Sends every message back.
final class EchoHandler: StreamHandler {
  private let call: StreamCall
  private let events: Signal<ServerEvents.Event>

  init(call: StreamCall, events: Signal<ServerEvents.Event>) {
    self.call = call
    self.events = events
    events.send(.opened)
  }

  func received(_ message: ByteBuffer) { _ = self.call.send(encoded: message) }

  func halfClosed() {
    self.events.send(.halfClosed)
    self.call.finish()
  }

  func writable() { self.events.send(.writable) }
  func closed() { self.events.send(.closed) }
}

/// Sends messages of 32 KiB for as long as the call takes them.
final class FloodHandler: StreamHandler {
  private let call: StreamCall
  private let events: Signal<ServerEvents.Event>
  private let message = ByteBuffer(repeating: 7, count: 32 * 1024)

  init(call: StreamCall, events: Signal<ServerEvents.Event>) {
    self.call = call
    self.events = events
  }

  func received(_ message: ByteBuffer) {
    while self.call.send(encoded: self.message) {}
    self.events.send(.blocked)
  }

  func halfClosed() { self.call.finish() }
  func writable() { self.events.send(.writable) }
  func closed() { self.events.send(.closed) }
}

struct TestServer: Sendable {
  let server: WireServer
  let seen: ServerEvents

  var port: Int { self.server.localAddress.port ?? 0 }

  func connect(
    to host: String = "127.0.0.1", limits: WireLimits = .client, tls: TLSSource? = nil
  ) async throws -> WireConnection {
    try await WireConnection.connect(host: host, port: self.port, on: testGroup.next(), limits: limits, tls: tls).get()
  }
}

extension WireLimits {
  /// For tests that are not about time: one that waits for its turn on a busy machine is no slow client.
  static var patient: WireLimits {
    var limits = WireLimits()
    limits.firstBytesTimeout = .minutes(10)
    return limits
  }
}

/// Runs a test against a server of its own and stops the server afterwards.
func withServer(
  limits: WireLimits = .patient, tls: TLSSource? = nil, _ body: (TestServer) async throws -> Void
) async throws {
  let seen = ServerEvents()
  let server = try await WireServer.start(
    host: "127.0.0.1", port: 0, group: testGroup, router: seen.routes(),
    http: { request, eventLoop in
      let text = "\(request.method) \(request.path) \(request.header("X-Test") ?? "-") \(String(buffer: request.body))"
      return eventLoop.makeSucceededFuture(HTTPReply(status: 200, text: text))
    },
    limits: limits, tls: tls, logger: Logger(label: "test"))
  let result: Result<Void, any Error>
  do {
    result = .success(try await body(TestServer(server: server, seen: seen)))
  } catch {
    result = .failure(error)
  }
  await server.shutdown(grace: .zero)
  try result.get()
}

extension WireConnection {
  /// A unary call with plain bytes.
  func call(
    _ path: String, _ payload: ByteBuffer, metadata: [(String, String)] = [], deadline: NIODeadline? = nil
  ) async throws(RPCStatus) -> ByteBuffer {
    let result = await withCheckedContinuation { continuation in
      self.unary(path, payload, metadata: metadata, deadline: deadline) { continuation.resume(returning: $0) }
    }
    return try result.get()
  }
}

/// What a streaming call brought to the client.
final class Received: ClientStreamHandler {
  enum Event: Sendable, Equatable {
    case message(ByteBuffer)
    case closed(RPCStatus)
  }

  let events = Signal<Event>()

  func received(_ message: ByteBuffer) { self.events.send(.message(message)) }
  func closed(_ status: RPCStatus) { self.events.send(.closed(status)) }
}
