// etcdctl against both servers: the same command lines, and what they print and how they end must be the same.
//
// A command is written as a user writes it. `$name` stands for what an earlier command was answered with, which is another
// thing for each server; `=> name` at the end keeps it; `| text` is what the command reads, with `\n` for the ends of lines;
// `*` before a command has it run once in each output format; and `~` says that its lines come in any order.

import Foundation
import Glibc
import Protocol
import SwiftProtobuf
import Testing

final class ComparedEtcdctl {
  let pair: ComparedPair
  /// What a command of each server was answered with, by name.
  private var kept: [String: (peer: String, ours: String)] = [:]
  private(set) var count = 0

  static let formats = ["simple", "json", "fields", "table", "protobuf"]

  init(_ pair: ComparedPair) { self.pair = pair }

  /// Runs commands, one on each line, and records where they differ.
  func same(_ commands: String, sourceLocation: SourceLocation = #_sourceLocation) async throws {
    for line in commands.split(separator: "\n") {
      let marks = line.prefix { $0 == "*" || $0 == "~" }
      for format in marks.contains("*") ? Self.formats : [""] {
        try await compare(
          String(line.dropFirst(marks.count)), format: format, isUnordered: marks.contains("~"), sourceLocation)
      }
    }
  }

  private func compare(
    _ line: String, format: String, isUnordered: Bool, _ place: SourceLocation
  ) async throws {
    count += 1
    var (command, input, name) = (line, "", nil as String?)
    if let arrow = command.range(of: " => ") {
      name = String(command[arrow.upperBound...])
      command = String(command[..<arrow.lowerBound])
    }
    if let bar = command.range(of: " | ") {
      input = command[bar.upperBound...].replacingOccurrences(of: "\\n", with: "\n")
      command = String(command[..<bar.lowerBound])
    }
    var arguments = command.split(separator: " ").map { $0 == "''" ? "" : String($0) }
    if !format.isEmpty { arguments += ["-w", format] }
    let theirs = try start(arguments, at: pair.peer, isBinary: format == "protobuf")
    let own = try start(arguments, at: pair.ours, isBinary: format == "protobuf")
    var theirEnd = await Self.end(of: theirs, reading: input)
    let ownEnd = await Self.end(of: own, reading: input)
    // An etcd of three answers a change of members now and then with an error of the moment, which is gone a moment later.
    var patience = 20
    while arguments[0] == "member", ownEnd.exitCode == 0, theirEnd.exitCode == 1, patience > 0 {
      patience -= 1
      theirEnd = await Self.end(of: try start(arguments, at: pair.peer, isBinary: format == "protobuf"), reading: input)
    }
    if let name { kept[name] = (Self.id(in: theirEnd.output), Self.id(in: ownEnd.output)) }
    func said(_ end: Program.Outcome, _ server: ComparedServer) -> String {
      let text = text(end, of: server, format)
      return isUnordered ? text.split(separator: "\n").sorted().joined(separator: "\n") : text
    }
    expectAlike(
      command + (format.isEmpty ? "" : " -w \(format)"), said(theirEnd, pair.peer), said(ownEnd, pair.ours), place)
  }

  func expectAlike(_ what: String, _ theirs: String, _ own: String, _ place: SourceLocation) {
    if theirs == own { return }
    Issue.record("etcdctl \(what)\n--- etcd\n\(theirs)\n--- portcullis\n\(own)", sourceLocation: place)
  }

  // MARK: Running

  /// A command that does not end would have the test wait for ever; it is killed then, and how it ended says so.
  static func end(
    of program: RunningProgram, _ meanwhile: () async throws -> Void
  ) async rethrows -> Int32 {
    let patience = Task {
      try await Task.sleep(for: .seconds(20))
      program.send(SIGKILL)
    }
    defer { patience.cancel() }
    try await meanwhile()
    return await program.exitCode()
  }

  private static func end(of program: RunningProgram, reading input: String) async -> Program.Outcome {
    // A command that reads nothing may have ended by now.
    if !input.isEmpty { try? program.write(input) }
    try? program.closeInput()
    let code = await end(of: program) {}
    await program.waitForEndOfOutput()
    return Program.Outcome(exitCode: code, output: program.output, errors: program.errors)
  }

  /// Starts etcdctl with what was kept of this server in its arguments.
  func start(
    _ arguments: [String], at server: ComparedServer, endpoints: String? = nil, isBinary: Bool = false
  ) throws -> RunningProgram {
    let etcdctl = try #require(Clients.etcdctl)
    let filled = arguments.map { argument in
      kept.reduce(argument) { $0.replacingOccurrences(of: "$" + $1.key, with: value($1.value, of: server)) }
    }
    let environment = ["ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": endpoints ?? server.endpoints]
    if !isBinary { return try RunningProgram(filled, executable: etcdctl, environment: environment) }
    // What is no text is read as hexadecimal digits; the command's own end is still the end.
    let script = #"set -o pipefail; "$0" "$@" | od -An -v -tx1 | tr -d ' \n'"#
    return try RunningProgram(["-c", script, etcdctl] + filled, executable: "/bin/bash", environment: environment)
  }

  private func value(_ kept: (peer: String, ours: String), of server: ComparedServer) -> String {
    server.name == pair.peer.name ? kept.peer : kept.ours
  }

  /// The first id in what a command said.
  private static func id(in output: String) -> String {
    let found = output.firstMatch(of: /(?:^|lease |Member +)([0-9a-f]+)(?:,| )/)
    return found.map { String($0.output.1) } ?? "nothing"
  }

  // MARK: Making it comparable

  private func text(_ outcome: Program.Outcome, of server: ComparedServer, _ format: String) -> String {
    var output = outcome.output
    if format == "protobuf" { output = Self.message(inHexadecimal: output) ?? "no message: \(output)" }
    // Columns are as wide as what is in them.
    if format == "table" { output = output.replacing(/-+/, with: "-").replacing(#/ +/#, with: " ") }
    return "exit code \(outcome.exitCode)\n" + masked(output, of: server) + masked(outcome.errors, of: server)
  }

  /// Masks what differs from server to server: addresses, ids, terms, sizes, sums and times.
  func masked(_ text: String, of server: ComparedServer) -> String {
    var text = text
    for address in server.addresses { text = text.replacingOccurrences(of: address, with: "ADDRESS") }
    for address in server.peerAddresses { text = text.replacingOccurrences(of: address, with: "PEER") }
    for (name, value) in kept.sorted(by: { $0.key < $1.key }) {
      text = text.replacingOccurrences(of: self.value(value, of: server), with: "$" + name)
    }
    return
      text
      .replacing(/0x[0-9a-f]+\??/, with: "0x")
      .replacing(/Member +/, with: "Member ")
      .replacing(/cluster +/, with: "cluster ")
      .replacing(Self.namedNumber) { "\"\($0.output.1)\"\($0.output.2)#" }
      .replacing(/\b[0-9a-f]{13,16}\b/, with: "HEX")
      .replacing(/\b[0-9]{16,20}\b/, with: "NUMBER")
      .replacing(/"(ts|took)":("[^"]*"|[0-9.e-]+)/) { "\($0.output.1)" }
      .replacing(/[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:.]+/, with: "TIME")
      .replacing(/client-[0-9a-f-]{36}/, with: "CLIENT")
      .replacing(/\b[0-9.]+(ns|µs|ms|s)\b/, with: "TIME")
      .replacing(/\b[0-9.]+ [kM]?B\b/, with: "SIZE")
      // What is left of a lease, which was granted just now.
      .replacing(/(remaining\(|"TTL" : |"ttl":)(1|2)9[0-9][0-9]\b/) { "\($0.output.1)\($0.output.2)9xx" }
      .replacing(/(remaining\(|"TTL" : |"ttl":)(2|3)000\b/) { "\($0.output.1)\($0.output.2 == "2" ? 1 : 2)9xx" }
      // Term, index and applied index of a member; its sum.
      .replacing(/((?:true|false)(?:, | \| )(?:true|false))((?:, | \| )[0-9]+){3}/) { "\($0.output.1) …" }
      .replacing(/(ADDRESS(?:, | \| ))[0-9]{6,10}\b/) { "\($0.output.1)SUM" }
      // The header of a lease's answer is not within the answer here.
      .replacing(/\n4: [0-9]+\n/, with: "\n4: TERM\n")
      .replacing(/ETCD_INITIAL_CLUSTER="([^"]*)"/) {
        "ETCD_INITIAL_CLUSTER " + $0.output.1.split(separator: ",").sorted().joined(separator: ",")
      }
  }

  private static var namedNumber: Regex<(Substring, Substring, Substring)> {
    #/
    "(cluster_id|member_id|raft_term|raftTerm|ID|id|leader|hash|dbSize|dbSizeInUse|raftIndex|raftAppliedIndex|memberID
    |ClusterID|MemberID|RaftTerm|Leader|Hash|DBSize|DBSizeInUse|RaftIndex|RaftAppliedIndex|peer-id|StorageVersion)"
    (\ ?:\ ?)[0-9]+
    /#
  }

  /// Without fields of ours, which etcdctl hands on as it got them.
  private static func withoutOwnFields(_ text: String) -> String {
    var kept: [Substring] = []
    var end: String?
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
      if let closing = end {
        if line == closing { end = nil }
      } else if line.firstMatch(of: /^ *1[0-9]{3}( \{|:)/) == nil {
        kept.append(line)
      } else if line.hasSuffix("{") {
        end = line.prefix { $0 == " " } + "}"
      }
    }
    return kept.joined(separator: "\n")
  }

  /// Any answer has its header in field 1, and the rest is shown by its field numbers.
  private static func message(inHexadecimal digits: String) -> String? {
    guard digits.utf8.count.isMultiple(of: 2), !digits.isEmpty else { return digits.isEmpty ? "" : nil }
    var bytes: [UInt8] = []
    var rest = digits[...]
    while !rest.isEmpty {
      guard let byte = UInt8(rest.prefix(2), radix: 16) else { return nil }
      bytes.append(byte)
      rest = rest.dropFirst(2)
    }
    let answer = try? Etcdserverpb_CompactionResponse(serializedBytes: bytes)
    return answer.map { withoutOwnFields($0.masked().textFormatString()) }
  }
}
