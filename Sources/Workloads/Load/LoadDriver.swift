// Owns what the loops of a load ask of the operations that they make.
//
// A driver must never hold an operation up: it sends, and says when the answer is there.

import Measurement
import NIOCore
import Wire

/// A connection to a target, as a `Lane` opens it and opens it again.
protocol LoadConnection: AnyObject, Sendable {
  /// Fails with an `RPCStatus` that says what was tried.
  static func open(to endpoint: Endpoint, on eventLoop: any EventLoop, tls: TLSSource?) -> EventLoopFuture<Self>
  /// Completes when the connection is gone, whoever closed it.
  var closeFuture: EventLoopFuture<Void> { get }
  var eventLoop: any EventLoop { get }
  func close()
}

extension WireConnection: LoadConnection {
  static func open(
    to endpoint: Endpoint, on eventLoop: any EventLoop, tls: TLSSource?
  ) -> EventLoopFuture<WireConnection> {
    connect(host: endpoint.host, port: endpoint.port, on: eventLoop, tls: endpoint.usesTLS ? tls : nil)
  }
}

/// One operation that is to be made.
struct OperationCall {
  let ticket: OperationTable.Ticket
  /// The client of a closed loop, counted from 0 on each event loop, or `LoadLoop.noClient`.
  let client: Int
  /// Which part of a mix it is.
  let part: Int
  /// When it was due; in a closed loop, when it is sent.
  let intended: UInt64
  let sent: UInt64
}

/// How an operation ended.
struct OperationEnding {
  enum Kind {
    case succeeded
    /// By a refusal that the load is made to meet.
    case refused
    case failed(RPCStatus)
  }

  var kind: Kind
  /// What is wrong with the answer, where something is.
  var violation: String?
  /// The latency, where it is not that from the call to this ending.
  var latencyNanoseconds: UInt64?
  /// What the target says that it took.
  var targetNanoseconds: UInt64?

  init(_ kind: Kind, violation: String? = nil) {
    self.kind = kind
    self.violation = violation
  }
}

/// Where operations end: on the event loop, and at the first ending of each.
protocol OperationSink: AnyObject, Sendable {
  func ended(_ ticket: OperationTable.Ticket, _ ending: OperationEnding)
}

/// Makes the operations of one event loop, and is touched on that loop alone.
protocol LoadDriver: AnyObject, SendableMetatype {
  associatedtype Connection: LoadConnection

  /// The names of the operations, where there are several.
  var parts: [String] { get }
  /// Which of them comes next.
  func drawPart() -> Int
  /// What has to be there on each connection before the load. Again whenever a connection is back after a loss.
  func begin(on connection: Connection, lane: Int, _ sink: any OperationSink) -> EventLoopFuture<Void>
  func start(_ call: OperationCall, on connection: Connection, lane: Int, _ sink: any OperationSink)
  /// Nothing more is to come of an operation: it took too long.
  func forget(_ ticket: OperationTable.Ticket)
  /// Hands over what the driver counts by itself.
  func collect(into figures: inout LoadFigures)
}

extension LoadDriver {
  var parts: [String] { [] }
  func drawPart() -> Int { 0 }
  func begin(on connection: Connection, lane: Int, _ sink: any OperationSink) -> EventLoopFuture<Void> {
    connection.eventLoop.makeSucceededVoidFuture()
  }
  func forget(_ ticket: OperationTable.Ticket) {}
  func collect(into figures: inout LoadFigures) {}
}

/// What the checks of the answers have in common on one event loop: the highest revision that was answered.
///
/// An operation that is sent after another was answered comes after it: for one client, and in a linearizable store for all
/// that share this loop.
final class RevisionOracle {
  private(set) var highest: Int64 = 0

  func saw(_ revision: Int64) { if revision > highest { highest = revision } }

  /// What is wrong with the revision of a write that was sent when `before` was the highest.
  func checkWrite(_ revision: Int64?, after before: Int64) -> String? {
    guard let revision, revision > 0 else { return "an answer without a revision, after \(before)" }
    saw(revision)
    return revision > before ? nil : "revision \(revision) for a write that was sent after \(before) had been answered"
  }

  /// The same for a read, which may see no less than what had been answered.
  func checkRead(_ revision: Int64?, after before: Int64) -> String? {
    guard let revision, revision > 0 else { return "an answer without a revision, after \(before)" }
    saw(revision)
    return revision >= before ? nil : "revision \(revision) for a read that was sent after \(before) had been answered"
  }
}
