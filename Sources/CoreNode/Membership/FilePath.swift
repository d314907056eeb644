// The directory that a path lies in, which must be flushed when a name in it changes.

package enum FilePath {
  /// "." for a name alone. (Foundation's own `deletingLastPathComponent` traps on a name of one character.)
  package static func parent(of path: String) -> String {
    var trimmed = Substring(path)
    while trimmed.count > 1, trimmed.hasSuffix("/") { trimmed.removeLast() }
    guard let slash = trimmed.lastIndex(of: "/") else { return "." }
    return slash == trimmed.startIndex ? "/" : String(trimmed[..<slash])
  }
}
