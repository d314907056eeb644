// A writer of the tour: a process with a session of its own, told over its standard input what to do next. Like most
// programs it does not look at the clock between deciding to write and writing.

package import Client
import Foundation
import Glibc

/// The tour's end of a writer. `@unchecked Sendable`: used by one task at a time, the tour's own.
final class TourWriter: @unchecked Sendable {
  private let process = Process()
  private let input = Pipe()
  private var lines: AsyncLineReader

  init(executable: String, arguments: [String], environment: [String: String]) throws {
    let output = Pipe()
    process.executableURL = URL(fileURLWithPath: executable)
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    process.standardInput = input
    process.standardOutput = output
    lines = AsyncLineReader(output.fileHandleForReading)
    try process.run()
  }

  var processID: Int32 { process.processIdentifier }

  func pause() { kill(processID, SIGSTOP) }
  func resume() { kill(processID, SIGCONT) }

  func end() {
    resume()
    try? input.fileHandleForWriting.close()
    process.waitUntilExit()
  }

  func acquire() async throws -> Int64 {
    let answer = try await ask(TourOrder.acquire)
    guard case .granted(let number) = answer else {
      throw CommandFailure(ExitCode.notHeld, "a writer could not acquire the scope: \(answer)")
    }
    return number
  }

  func write(_ statement: String) async throws -> GatewayAnswer {
    let answer = try await ask(TourOrder.write(statement))
    guard case .written(let status, let body) = answer else {
      throw CommandFailure(ExitCode.unavailable, "a writer could not reach the gateway: \(answer)")
    }
    return GatewayAnswer(status: status, body: body)
  }

  private func ask(_ order: TourOrder) async throws -> TourReport {
    try input.fileHandleForWriting.write(contentsOf: JSONEncoder().encode(order) + Data([UInt8(ascii: "\n")]))
    guard let line = await lines.next() else {
      throw CommandFailure(ExitCode.failed, "a writer of the tour ended before it answered")
    }
    return try JSONDecoder().decode(TourReport.self, from: Data(line.utf8))
  }
}

/// What the tour tells a writer, one JSON object a line.
enum TourOrder: Codable, Sendable {
  case acquire
  case write(String)
}

/// What a writer answers.
enum TourReport: Codable, Sendable {
  case granted(number: Int64)
  case written(status: Int, body: String)
  case failed(String)
}

/// The writer's own end: obeys orders from standard input until it is closed.
package struct TourWriterProcess: Sendable {
  package let endpoints: [Endpoint]
  /// How TLS is spoken with `endpoints` and the gateway.
  package var tls = TLSOptions()
  package var credentials: Credentials?
  package let gateway: Endpoint
  package let scope: String
  package let holder: String
  package let timeToLive: Duration

  package init(endpoints: [Endpoint], gateway: Endpoint, scope: String, holder: String, timeToLive: Duration) {
    self.endpoints = endpoints
    self.gateway = gateway
    self.scope = scope
    self.holder = holder
    self.timeToLive = timeToLive
  }

  package func run() async throws {
    let client = Portcullis(endpoints: endpoints, tls: tls, credentials: credentials)
    defer { client.close() }
    var session: Session?
    var token: String?
    var lines = AsyncLineReader(.standardInput)
    while let line = await lines.next() {
      let report: TourReport
      do {
        switch try JSONDecoder().decode(TourOrder.self, from: Data(line.utf8)) {
        case .acquire:
          let opened = try await Session.open(on: client, holder: holder, timeToLive: timeToLive)
          session = opened
          let grant = try await opened.acquire(scope, wait: .seconds(60))
          token = grant.token
          report = .granted(number: grant.number)
        case .write(let statement):
          let answer = try await GatewayClient(endpoint: gateway, tls: tls)
            .run(.execute, [statement], on: scope, token: token)
          report = .written(status: answer.status, body: answer.body)
        }
      } catch {
        report = .failed("\(error)")
      }
      try FileHandle.standardOutput.write(contentsOf: JSONEncoder().encode(report) + Data([UInt8(ascii: "\n")]))
    }
    await session?.close()
  }
}

/// Lines of a file handle as they come, read on a thread of its own because reading blocks.
struct AsyncLineReader {
  private var iterator: AsyncStream<String>.Iterator

  init(_ handle: FileHandle) {
    let (stream, continuation) = AsyncStream.makeStream(of: String.self)
    iterator = stream.makeAsyncIterator()
    let descriptor = handle.fileDescriptor
    Thread.detachNewThread {
      // Held so that the descriptor stays open.
      _ = handle
      guard let file = fdopen(dup(descriptor), "r") else { return continuation.finish() }
      var line: UnsafeMutablePointer<CChar>?
      var capacity = 0
      while getline(&line, &capacity, file) > 0 {
        if let line { continuation.yield(String(cString: line).trimmingCharacters(in: .newlines)) }
      }
      free(line)
      fclose(file)
      continuation.finish()
    }
  }

  mutating func next() async -> String? { await iterator.next() }
}
