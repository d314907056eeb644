// Owns what a need takes in memory and on disk, each figure with the formula that it came from.
//
// It must never give a number without its formula: whoever plans has other numbers tomorrow.

/// One figure and where it comes from.
package struct FootprintLine: Sendable, Equatable, Codable {
  package var name: String
  /// In bytes, or in seconds where the name says so.
  package var value: Double
  package var text: String
  package var formula: String
}

package struct Footprint: Sendable, Equatable, Codable {
  /// What a command has around a key and a value, in the log: kind, lengths, who asked.
  static let envelopeBytes = 48

  package var memoryBytes: Double
  package var diskBytes: Double
  /// Nil where nothing grows.
  package var daysToQuota: Double?
  package var lines: [FootprintLine]

  package init(of need: Need, coefficients: FootprintCoefficients = .measured) {
    let terms = Terms(need, coefficients)
    memoryBytes = terms.memory
    diskBytes = terms.disk
    daysToQuota = terms.daysToQuota
    lines = terms.lines
  }

  /// By which the quota counts.
  static func storeBytesPerVersion(_ need: Need) -> Int {
    need.keyBytes + need.valueBytes + Int(FootprintCoefficients.measured.storePerVersion)
  }

  static func storeBytes(_ need: Need) -> Double {
    need.keys * need.versionsKept * Double(storeBytesPerVersion(need))
  }
}

private struct Terms {
  let need: Need
  let by: FootprintCoefficients

  init(_ need: Need, _ coefficients: FootprintCoefficients) {
    self.need = need
    by = coefficients
  }

  var pair: Double { Double(need.keyBytes + need.valueBytes) }
  var versions: Double { need.keys * need.versionsKept }

  // MARK: Memory

  var keyMemory: Double { need.keys * (pair + by.key) }
  var versionMemory: Double { (versions - need.keys) * (Double(need.valueBytes) + by.version) }
  var cached: Double { by.cachedLog }
  var memory: Double {
    by.emptyNode + cached + keyMemory + versionMemory + need.leases * by.lease + need.watchers / Double(need.nodes)
      * by.watcher
  }

  // MARK: Disk

  var snapshot: Double { versions * (pair + by.snapshotVersion) }
  var entry: Double { pair + by.logEntry }
  /// A snapshot is due by entries and by the share of the last one, or by bytes whatever the entries.
  var logEntries: Double {
    let byShare = max(by.snapshotEntries, by.snapshotLogShare * snapshot / entry)
    let byBytes = max(by.snapshotLogBytes, snapshot) / entry
    return min(byShare, byBytes) + by.trailingEntries
  }
  var log: Double { logEntries * entry }
  var disk: Double { by.journal + log + 3 * snapshot }

  // MARK: Growth

  var perDay: Double { need.keysPerDay * need.versionsKept * Double(Footprint.storeBytesPerVersion(need)) }
  var daysToQuota: Double? { perDay > 0 ? (need.quotaBytes - Footprint.storeBytes(need)) / perDay : nil }
  /// What the loaded leader writes meanwhile is sent behind it.
  var catchUp: Double { snapshot / by.transferBytesPerSecond }

  // MARK: Lines

  var lines: [FootprintLine] {
    var lines = [
      bytes(
        "memory of a node", memory,
        "\(Words.bytes(by.emptyNode)) + \(Words.bytes(cached)) of log + keys × (key + value + \(Words.count(by.key))) + further "
          + "versions × (value + \(Words.count(by.version))) + leases × \(Words.count(by.lease)) + its watchers × "
          + "\(Words.count(by.watcher))"),
      bytes(
        "disk of a node", disk,
        "journal \(Words.bytes(by.journal)) + log \(Words.bytes(log)) (\(Words.count(logEntries)) entries × (key + value + "
          + "\(Words.count(by.logEntry)))) + 3 × snapshot \(Words.bytes(snapshot)) (versions × (key + value + "
          + "\(Words.count(by.snapshotVersion))))"),
      bytes(
        "store, by which the quota counts", Footprint.storeBytes(need),
        "keys × versions × (key + value + \(Words.count(by.storePerVersion)))"),
      FootprintLine(
        name: "seconds until a new member has the state", value: catchUp, text: Words.span(catchUp),
        formula: "snapshot / \(Words.bytes(by.transferBytesPerSecond)) a second, and the log of that time behind it"),
    ]
    if let daysToQuota {
      lines.append(
        FootprintLine(
          name: "days to the quota", value: daysToQuota, text: "\(Words.count(daysToQuota.rounded(.down))) days",
          formula: "(\(Words.bytes(need.quotaBytes)) - store) / (keys a day × versions × (key + value + "
            + "\(Words.count(by.storePerVersion))))"))
    }
    if need.fenceRows > 0 {
      lines.append(
        bytes(
          "fence rows in a gateway's file", need.fenceRows * by.fenceRow, "scopes × \(Words.count(by.fenceRow))"))
    }
    return lines
  }

  private func bytes(_ name: String, _ value: Double, _ formula: String) -> FootprintLine {
    FootprintLine(name: name, value: value, text: Words.bytes(value), formula: formula)
  }
}
