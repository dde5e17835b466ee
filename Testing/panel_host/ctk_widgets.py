"""Stand-ins for the CTK widgets that the panel uses.

SIGNALS names the Qt signatures a stand-in offers, as `connect` and .ui files write them. METHODS names what is neither
property, signal nor slot of the real widget but an invokable method of its header.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from PySide6 import QtCore, QtGui, QtWidgets

Property, Signal = QtCore.Property, QtCore.Signal
_UNLIMITED = 16777215  # QWIDGETSIZE_MAX


class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """A header bar with an arrow. Folded it is cut off below the bar; its contents stay as visible as they were."""

    SIGNALS: ClassVar[dict[str, str]] = {"contentsCollapsed(bool)": "contentsCollapsed"}
    contentsCollapsed = Signal(bool)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.setCheckable(True)
        self.setChecked(True)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Minimum, QtWidgets.QSizePolicy.Policy.Preferred)
        self.setContentsMargins(0, self._header_height(), 0, 0)
        self.toggled.connect(self._show_contents)

    def _get_collapsed(self) -> bool:
        return not self.isChecked()

    def _set_collapsed(self, collapsed: bool) -> None:
        self.setChecked(not collapsed)

    collapsed = Property(bool, _get_collapsed, _set_collapsed)

    def _header_height(self) -> int:
        return self.fontMetrics().height() + 10

    def _show_contents(self, shown: bool) -> None:
        self.setMaximumHeight(_UNLIMITED if shown else self._header_height())
        self.contentsCollapsed.emit(not shown)

    def hitButton(self, position: QtCore.QPoint) -> bool:
        return position.y() < self._header_height()

    def minimumSizeHint(self) -> QtCore.QSize:
        hint = QtWidgets.QWidget.minimumSizeHint(self)
        return hint.expandedTo(QtCore.QSize(self._header_width(), self._header_height()))

    def sizeHint(self) -> QtCore.QSize:
        hint = QtWidgets.QWidget.sizeHint(self)
        return hint.expandedTo(QtCore.QSize(self._header_width(), self._header_height()))

    def _header_width(self) -> int:
        return self.fontMetrics().horizontalAdvance(self.text) + 40

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        painter = QtWidgets.QStylePainter(self)
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, self.width, self._header_height())
        painter.drawControl(QtWidgets.QStyle.ControlElement.CE_PushButtonBevel, option)
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(8, (self._header_height() - 10) // 2, 10, 10)
        element = QtWidgets.QStyle.PrimitiveElement
        painter.drawPrimitive(
            element.PE_IndicatorArrowDown if self.isChecked() else element.PE_IndicatorArrowRight, arrow
        )
        painter.drawText(
            option.rect.adjusted(26, 0, 0, 0),
            QtCore.Qt.AlignmentFlag.AlignVCenter | QtCore.Qt.TextFlag.TextShowMnemonic,
            self.text,
        )


class ctkCollapsibleGroupBox(QtWidgets.QGroupBox):
    """A group box that its title folds away, by cutting it off below."""

    SIGNALS: ClassVar[dict[str, str]] = {}

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.setCheckable(True)
        self.toggled.connect(self._show_contents)

    def _get_collapsed(self) -> bool:
        return not self.isChecked()

    def _set_collapsed(self, collapsed: bool) -> None:
        self.setChecked(not collapsed)

    collapsed = Property(bool, _get_collapsed, _set_collapsed)

    def _show_contents(self, shown: bool) -> None:
        self.setMaximumHeight(_UNLIMITED if shown else self.fontMetrics().height() + 4)

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        painter = QtWidgets.QStylePainter(self)
        option = QtWidgets.QStyleOptionGroupBox()
        self.initStyleOption(option)
        option.subControls &= ~QtWidgets.QStyle.SubControl.SC_GroupBoxCheckBox
        arrow = (
            "\N{BLACK DOWN-POINTING SMALL TRIANGLE}" if self.isChecked() else "\N{BLACK RIGHT-POINTING SMALL TRIANGLE}"
        )
        option.text = f"{arrow} {self.title}"
        if not self.isChecked():
            option.subControls &= ~QtWidgets.QStyle.SubControl.SC_GroupBoxFrame
        painter.drawComplexControl(QtWidgets.QStyle.ComplexControl.CC_GroupBox, option)


class ctkSliderWidget(QtWidgets.QWidget):
    """A slider of real numbers with a spin box beside it."""

    SIGNALS: ClassVar[dict[str, str]] = {
        "valueChanged(double)": "valueChanged",
        "valueIsChanging(double)": "valueIsChanging",
        "decimalsChanged(int)": "decimalsChanged",
    }
    valueChanged = Signal(float)
    valueIsChanging = Signal(float)
    decimalsChanged = Signal(int)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._tracking = True
        self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal)
        self._slider.setRange(0, 10000)
        self._spin = QtWidgets.QDoubleSpinBox()
        self._spin.setRange(0.0, 99.0)
        self._spin.setKeyboardTracking(False)
        self._spin.setMinimumWidth(96)  # as wide as those of its siblings
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._slider, 1)
        row.addWidget(self._spin)
        self._slider.valueChanged.connect(self._slid)
        self._slider.sliderReleased.connect(lambda: self._tracking or self.valueChanged.emit(self.value))
        self._spin.valueChanged.connect(self._typed)
        self.setFocusProxy(self._slider)

    def setValue(self, value: float) -> None:
        self._spin.setValue(value)

    def reset(self) -> None:
        self.setValue(0.0)

    def setDecimals(self, decimals: int) -> None:
        self._spin.setDecimals(decimals)
        self.decimalsChanged.emit(decimals)

    def setSpinBoxVisible(self, visible: bool) -> None:
        self._spin.setVisible(visible)

    def _slid(self, position: int) -> None:
        low, high = self.minimum, self.maximum
        self._spin.setValue(low + (high - low) * position / 10000)

    def _typed(self, value: float) -> None:
        self._place_handle()
        self.valueIsChanging.emit(value)
        if self._tracking or not self._slider.isSliderDown():
            self.valueChanged.emit(value)

    def _place_handle(self) -> None:
        low, high = self.minimum, self.maximum
        blocked = self._slider.blockSignals(True)
        self._slider.setValue(round(10000 * (self.value - low) / (high - low)) if high > low else 0)
        self._slider.blockSignals(blocked)

    def _set_minimum(self, minimum: float) -> None:
        self._spin.setMinimum(minimum)
        self._place_handle()

    def _set_maximum(self, maximum: float) -> None:
        self._spin.setMaximum(maximum)
        self._place_handle()

    def _set_tracking(self, tracking: bool) -> None:
        self._tracking = tracking

    value = Property(float, lambda self: self._spin.value, setValue)
    minimum = Property(float, lambda self: self._spin.minimum, _set_minimum)
    maximum = Property(float, lambda self: self._spin.maximum, _set_maximum)
    singleStep = Property(float, lambda self: self._spin.singleStep, lambda self, step: self._spin.setSingleStep(step))
    pageStep = Property(float, lambda self: 10 * self._spin.singleStep, lambda self, step: None)
    decimals = Property(int, lambda self: self._spin.decimals, setDecimals)
    suffix = Property(str, lambda self: self._spin.suffix, lambda self, text: self._spin.setSuffix(text))
    prefix = Property(str, lambda self: self._spin.prefix, lambda self, text: self._spin.setPrefix(text))
    tracking = Property(bool, lambda self: self._tracking, _set_tracking)
    spinBoxVisible = Property(bool, lambda self: not self._spin.isHidden(), setSpinBoxVisible)


class ctkPathLineEdit(QtWidgets.QWidget):
    """A path with a button to browse. The host shows no file dialog: set currentPath."""

    SIGNALS: ClassVar[dict[str, str]] = {
        "currentPathChanged(QString)": "currentPathChanged",
        "validInputChanged(bool)": "validInputChanged",
    }
    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._filters: list[str] = []
        self._edit = QtWidgets.QComboBox()
        self._edit.setEditable(True)
        button = QtWidgets.QToolButton()
        button.setText("...")
        button.clicked.connect(self.browse)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._edit, 1)
        row.addWidget(button)
        self._edit.editTextChanged.connect(self._changed)
        self.setFocusProxy(self._edit)

    def setCurrentPath(self, path: str) -> None:
        self._edit.setEditText(path)

    def addCurrentPathToHistory(self) -> None:
        self._edit.addItem(self.currentPath)

    def browse(self) -> None:
        raise NotImplementedError("The host shows no file dialogs: set currentPath.")

    def _changed(self, path: str) -> None:
        self.currentPathChanged.emit(path)
        self.validInputChanged.emit(Path(path).exists())

    def _set_filters(self, filters: list[str]) -> None:
        self._filters = list(filters)

    currentPath = Property(str, lambda self: self._edit.currentText, setCurrentPath)
    nameFilters = Property("QStringList", lambda self: tuple(self._filters), _set_filters)


class ctkMessageBox(QtWidgets.QMessageBox):
    """The message box of `slicer.util.messageBox`; `messages.py` answers it instead of a person."""

    SIGNALS: ClassVar[dict[str, str]] = {}

    def _set_key(self, key: str) -> None:
        self._settings_key = key

    dontShowAgainSettingsKey = Property(str, lambda self: self.__dict__.get("_settings_key", ""), _set_key)


STAND_INS = (ctkCollapsibleButton, ctkCollapsibleGroupBox, ctkMessageBox, ctkPathLineEdit, ctkSliderWidget)
